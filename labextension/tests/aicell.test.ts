import { describe, expect, it } from 'vitest';

import {
  afresh,
  complete,
  isEstimate,
  quoted,
  readCell,
  requestsOf,
  variablesOf,
  withOption,
  words
} from '../src/aicell';
import { variablesIn } from '../src/plan';

const KNOWN = { models: ['echo', 'gpt-5-mini'], prompts: ['classify', 'summarise'], variables: ['letter', 'reader'] };

/** What is offered at the end of a text. */
function offered(source: string): string[] {
  return complete(source, source.length, KNOWN).items.map(item => item.text);
}

function cellOf(source: string) {
  const cell = readCell(source);
  if (!cell) {
    throw new Error('not an AI cell');
  }
  return cell;
}

describe('the first line', () => {
  it('keeps quotes and braces together', () => {
    expect(words('echo --system "be brief, \\"please\\"" -m {"a": 1} x')).toEqual([
      'echo',
      '--system',
      'be brief, "please"',
      '-m',
      '{"a": 1}',
      'x'
    ]);
  });

  it('has a model, options and a body', () => {
    const cell = cellOf('%%ai echo --temperature=0.5 --vs a --vs b --fresh\nhello');
    expect([cell.model, cell.body]).toEqual(['echo', 'hello']);
    expect(cell.options.get('--vs')).toEqual(['a', 'b']);
    expect(cell.options.has('--fresh')).toBe(true);
    expect(cell.options.get('--temperature')).toEqual(['0.5']);
  });

  it('is no AI cell when it is another magic', () => {
    expect(readCell('%%aide\nx')).toBeNull();
    expect(readCell('x = 1')).toBeNull();
  });

  it('names a model by -m, but not by settings', () => {
    expect(cellOf('%%ai -m {"temperature":0} -m echo\nx').model).toBe('echo');
  });
});

describe('the requests of a cell', () => {
  it('are one for each variant, as the magic would send them', () => {
    const [one, two] = requestsOf(
      cellOf('%%ai echo --system "be brief" --max-tokens 5 --vs other\n\n  hi {{name}} \n\n')
    );
    expect(one).toMatchObject({
      model: 'echo',
      settings: { max_tokens: 5 },
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: '  hi {name}' }
      ]
    });
    expect(two).toMatchObject({ model: 'other' });
  });

  it('are estimates where more than the text decides', () => {
    expect(isEstimate(cellOf('%%ai\nplain'), 0)).toBe(false);
    expect(isEstimate(cellOf('%%ai\n{name}'), variablesIn('{name} {"a": 1}'))).toBe(true);
    expect(isEstimate(cellOf('%%ai --each df.text\nx'), 0)).toBe(true);
  });
});

describe('changes to a cell', () => {
  it.each([
    ['%%ai', '--fresh', '%%ai --fresh'],
    ['%%ai echo \nx', '--vs b', '%%ai echo --vs b\nx']
  ])('%j with %j', (source, option, changed) => expect(withOption(source, option)).toBe(changed));

  it('asks afresh once', () => {
    expect(afresh('%%ai echo\nx')).toBe('%%ai echo --fresh\nx');
    expect(afresh('%%ai --fresh\nx')).toBe('%%ai --fresh\nx');
  });

  it('quotes what needs it', () => {
    expect([quoted('openai/gpt-5'), quoted('a "b"')]).toEqual(['openai/gpt-5', '"a \\"b\\""']);
  });
});

describe('completion', () => {
  it('offers models and options on the first line', () => {
    expect(offered('%%ai e')).toEqual(['echo']);
    expect(offered('%%ai ')).toEqual(expect.arrayContaining(['echo', '--prompt']));
    expect(offered('%%ai echo --fr')).toEqual(['--fresh']);
    expect(offered('%%ai --prompt s')).toEqual(['summarise']);
    expect(offered('%%ai --vs c')).toEqual(['classify']);
    expect(offered('%%ai --format j')).toEqual(['json']);
    expect(offered('%%ai --system s')).toEqual([]);
    expect(offered('%%ai echo g')).toEqual([]);
  });

  it('offers variables in the body after a brace and nowhere else', () => {
    expect(offered('%%ai\nDear {re')).toEqual(['reader']);
    expect(offered('%%ai\nDear re')).toEqual([]);
    expect(offered('%%ai\n{"re')).toEqual([]);
  });

  it('knows the variables that cells make', () => {
    expect(
      variablesOf([
        'a = 1\nb, c = 2, 3\nif a == 2:\n  x = 1',
        'for row in rows:\n  pass',
        '%%ai -o reply\nz = 1',
        '_p = 1',
        '%%sql\nq = 1'
      ])
    ).toEqual(['a', 'b', 'c', 'reply', 'row']);
  });
});
