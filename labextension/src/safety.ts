import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';

const LOADING = 'img, source, video, audio, track, input[type="image"], link, [background], [poster], use, image';
const OWN = /^(?:aiplat|lm|jp)-(?!RenderedMermaid)/i;
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
  for (const form of page.body.querySelectorAll('form')) {
    form.replaceWith(...form.childNodes); // sending it would load another page in place of JupyterLab
  }
  for (const node of page.body.querySelectorAll('[style]')) {
    if (/url\s*\(|image-set|@import|[\s:]-\.?\d/i.test(node.getAttribute('style') ?? '')) {
      node.removeAttribute('style');
    }
  }
  for (const node of page.body.querySelectorAll('*')) {
    makeForeign(node);
  }
  return page.body.innerHTML;
}

/** Takes from an element of an answer what would make it a part of JupyterLab: its commands, our names and its own. */
function makeForeign(node: Element): void {
  for (const name of node.getAttributeNames().filter(name => name.startsWith('data-commandlinker'))) {
    node.removeAttribute(name); // an answer must not run a command at a click
  }
  for (const name of [...node.classList].filter(name => OWN.test(name))) {
    node.classList.remove(name); // nor look like the line under an answer
  }
  if (OWN.test(node.id)) {
    node.removeAttribute('id');
  }
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
