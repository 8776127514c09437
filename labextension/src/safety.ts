import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';

const LOADING = 'img, source, video, audio, track, input[type="image"], link, [background], [poster], use, image';
const ADDRESSES = ['src', 'srcset', 'href', 'xlink:href', 'background', 'poster'];

function isLocal(address: string): boolean {
  return /^\s*(?:data:image\/|attachment:|#)/i.test(address);
}

/**
 * HTML in which nothing is fetched from elsewhere by showing it.
 *
 * An answer is a text by somebody else: an image in it could carry what stood in the prompt to a foreign host. Such an
 * image becomes its own description, with the address to read but not to load.
 */
export function withoutLoads(html: string, notLoaded: (address: string) => string): string {
  const page = new DOMParser().parseFromString(html, 'text/html');
  for (const node of page.body.querySelectorAll(LOADING)) {
    const address = ADDRESSES.map(name => node.getAttribute(name)).find(value => value && !isLocal(value));
    if (address) {
      const text = page.createElement('code');
      text.textContent = notLoaded(node.getAttribute('alt') || address);
      text.title = address;
      node.replaceWith(text);
    }
  }
  for (const node of page.body.querySelectorAll('[style]')) {
    if (/url\s*\(|image-set|@import/i.test(node.getAttribute('style') ?? '')) {
      node.removeAttribute('style');
    }
  }
  for (const node of page.body.querySelectorAll('*')) {
    for (const name of node.getAttributeNames().filter(name => name.startsWith('data-commandlinker'))) {
      node.removeAttribute(name); // an answer must not run a command of JupyterLab at a click
    }
  }
  return page.body.innerHTML;
}

/** Jupyter's sanitiser, and after it nothing that loads from elsewhere. */
export function quietSanitizer(
  sanitizer: IRenderMime.ISanitizer,
  notLoaded: (address: string) => string
): IRenderMime.ISanitizer {
  return {
    allowNamedProperties: sanitizer.allowNamedProperties,
    getAutolink: sanitizer.getAutolink?.bind(sanitizer),
    sanitize: (dirty, options) => withoutLoads(sanitizer.sanitize(dirty, options), notLoaded)
  };
}
