/** The language of an `%%ai` cell: text for a model, with our own line on top. */

export const AI_MIME = 'text/x-aiplat-ai';

/** Whether a cell's source is an `%%ai` cell, as the magic sees it. */
export function isAiCell(source: string): boolean {
  return /^%%ai(?=\s|$)/.test(source);
}

/** What stands at a place of a line, and how long it is. */
export interface ISpan {
  readonly length: number;
  readonly kind: 'meta' | 'variable' | 'escape' | 'heading' | null;
}

/** As the magic's own: a format after the colon must look like one, so that `{a: 1}` is what it is. */
const REFERENCE =
  /^\{[\p{L}_][\p{L}\p{N}_]*(?:\.[\p{L}][\p{L}\p{N}_]*|\[[^[\]{}\n]{1,200}\])*(?:![rsa])?(?::(?:head \d+|schema|md|(?:.?[<>=^])?[+-]?#?0?(?:\d{2,}|\d*[,_%]|\d*[,_]?\.\d+)[bcdeEfFgGnosxX%]?|[<>=^]\d+))?\}/u;
/** What stands before a group of LaTeX. */
const LATEX = /(?:\\[A-Za-z]+\*?(?:\[[^[\]\n]{0,80}\])?(?:\{[^{}\n]*\})*|\^|(?<![A-Za-z0-9_])[A-Za-z]_)$/;
const ESCAPED = /^\{\{[\p{L}_][\p{L}\p{N}_]*\}\}/u;
const HEADING = /^#{1,6}\s/;
const PLAIN = /^.[^{}]*/u;

/**
 * The next span of an `%%ai` cell's line.
 *
 * A brace that begins no reference is plain text: JSON, code and LaTeX stay what they are.
 *
 * @param line the whole line.
 * @param at where in it the reader stands.
 * @param isFirst whether it is the cell's first line.
 */
export function nextSpan(line: string, at: number, isFirst: boolean): ISpan {
  const rest = line.slice(at);
  if (isFirst) {
    return { length: rest.length, kind: 'meta' };
  }
  const escaped = ESCAPED.exec(rest);
  if (escaped) {
    return { length: escaped[0].length, kind: 'escape' };
  }
  const reference = REFERENCE.exec(rest);
  if (reference && !LATEX.test(line.slice(0, at))) {
    return { length: reference[0].length, kind: 'variable' };
  }
  return { length: PLAIN.exec(rest)?.[0].length ?? 1, kind: HEADING.test(line) ? 'heading' : null };
}
