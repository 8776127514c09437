// The parts of the A/B control that are algorithms: the word diff, and Markdown built of elements.
import { describe, expect, it } from 'vitest';

import { kept, words } from '../../aiplat_lab/widgets/live.js';
import { markdown } from '../../aiplat_lab/widgets/marks.js';

/** The length of the longest common subsequence, by the book. */
function longest(a, b) {
  if (!a.length || !b.length) {
    return 0;
  }
  const [x, y] = [a.slice(1), b.slice(1)];
  return a[0] === b[0] ? 1 + longest(x, y) : Math.max(longest(x, b), longest(a, y));
}

describe('the word diff', () => {
  it('takes a text apart without losing a sign', () => {
    const text = 'Grüße, “two” words\n\tand 3.5 € — “done”.';
    expect(words(text).join('')).toBe(text);
    expect(words('don’t stop')).toEqual(['don', '’', 't', ' ', 'stop']);
  });

  it('keeps the longest common run of words, in order on both sides', () => {
    for (let round = 0; round < 200; round += 1) {
      const draw = () => Array.from({ length: (round * 7) % 9 }, (_, i) => 'abc'[(round * 13 + i * i * 5 + i) % 3]);
      const [a, b] = [draw(), draw().reverse()];
      const [inA, inB] = kept(a, b);
      const [left, right] = [a.filter((_, i) => inA[i]), b.filter((_, i) => inB[i])];
      expect(left).toEqual(right);
      expect(left.length).toBe(longest(a, b));
    }
  });

  it('marks nothing in equal texts, all in strange ones, and leaves very long ones alone', () => {
    expect(kept(['a', 'b'], ['a', 'b'])).toEqual([
      [true, true],
      [true, true]
    ]);
    expect(kept(['a'], ['b'])).toEqual([[false], [false]]);
    expect(kept([], ['b'])).toEqual([[], [false]]);
    expect(kept(new Array(5000).fill('a'), new Array(5000).fill('a'))).toBeNull();
  });
});

function shown(text) {
  const box = document.createElement('div');
  box.append(markdown(text));
  return box;
}

describe('Markdown of an answer', () => {
  it('has headings, lists, code and emphasis', () => {
    const box = shown(
      '# Title\n\nSome **bold**, *slanted* and `code`.\n\n- one\n- two\n\n1. first\n\n```python\nx = [1]\n```'
    );
    expect(box.querySelector('.aab-heading')?.textContent).toBe('Title');
    expect([box.querySelectorAll('ul li').length, box.querySelectorAll('ol li').length]).toEqual([2, 1]);
    expect(box.querySelector('strong')?.textContent).toBe('bold');
    expect(box.querySelector('em')?.textContent).toBe('slanted');
    expect(box.querySelector('pre code')?.textContent).toBe('x = [1]');
  });

  it('never becomes markup, whatever it holds', () => {
    const hostile =
      '<img src=x onerror=alert(1)> **<script>1</script>** [a](javascript:alert(1))\n```\n<b>never closed';
    const box = shown(hostile);
    expect(box.querySelectorAll('img, script, a, b').length).toBe(0);
    expect(box.textContent).toContain('<img src=x onerror=alert(1)>');
    expect(box.textContent).toContain('<b>never closed');
  });

  it('ends on every text', () => {
    for (const text of [
      '',
      '\n\n',
      '```',
      '- ',
      '#',
      '1.',
      '* * *',
      '**',
      '`',
      '-\n-\n',
      '# \n#',
      '> a\n> b',
      '| a |\n|--|'
    ]) {
      expect(shown(text)).toBeTruthy();
    }
  });
});
