import { describe, expect, it } from 'vitest';

import { isAiCell, nextSpan } from '../src/language';

/** What each span of a line is, as `kind:text` for those that are marked. */
function marks(line: string, isFirst = false): string[] {
  const found: string[] = [];
  let at = 0;
  while (at < line.length) {
    const span = nextSpan(line, at, isFirst);
    expect(span.length).toBeGreaterThan(0);
    if (span.kind) {
      found.push(`${span.kind}:${line.slice(at, at + span.length)}`);
    }
    at += span.length;
  }
  return found;
}

describe('which cells are AI cells', () => {
  it.each([
    ['%%ai', true],
    ['%%ai smollm2 -f code\nx', true],
    ['%%ai\nx', true],
    ['%%aide', false],
    ['%ai hello', false],
    [' %%ai', false],
    ['x = 1\n%%ai', false]
  ])('%j is one: %j', (source, is) => {
    expect(isAiCell(source)).toBe(is);
  });
});

describe('the text of an AI cell', () => {
  it('marks the first line, headings and references', () => {
    expect(marks('%%ai smollm2 -f json', true)).toEqual(['meta:%%ai smollm2 -f json']);
    expect(marks('# Summarise')).toEqual(['heading:# Summarise']);
    expect(marks('## About {name} now')).toEqual(['heading:## About ', 'variable:{name}', 'heading: now']);
    expect(marks('about {table}, {row.name}, {x[0]:.2f} and {df:head 5}')).toEqual([
      'variable:{table}',
      'variable:{row.name}',
      'variable:{x[0]:.2f}',
      'variable:{df:head 5}'
    ]);
  });

  it.each([
    '{"a": 1}',
    'if (x) { return }',
    '\\frac{1}{2}',
    'import for while',
    '{ name }',
    '{}',
    '{_x._y}',
    '😀 {',
    '#5 of 7'
  ])('leaves %s as it is', line => {
    expect(marks(line)).toEqual([]);
  });

  it('takes doubled braces as written', () => {
    expect(marks('{{name}}')).toEqual(['escape:{{name}}']);
  });
});

describe('what is no variable', () => {
  it.each([
    ['{a: 1}'],
    ['{"a": 1, "b": {"c": 2}}'],
    ['{a:1}'],
    ['{ name }'],
    ['\\frac{a}{b} x^{n} x_{i} \\text{word}'],
    ['function f() {return}x'.replace('{return}', '{ return; }')],
    ['{}'],
    ['{1}']
  ])('%s', line => expect(marks(line).filter(mark => mark.startsWith('variable'))).toEqual([]));

  it.each([['{name}'], ['{größe}'], ['{row.text!r}'], ['{x:.2f}'], ['{df:head 5}'], ['{items[0]}'], ['{n:>10}']])(
    'but %s is one',
    line => expect(marks(line)).toEqual([`variable:${line}`])
  );

  it('marks a reference inside JSON alone', () => {
    expect(marks('{"q": "{name}", "n": {"k": 1}}')).toEqual(['variable:{name}']);
  });
});
