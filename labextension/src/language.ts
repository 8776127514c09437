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

const REFERENCE = /^\{[A-Za-z_]\w*(?:\.[A-Za-z]\w*|\[[^\]{}\n]*\])*(?::[^{}\n]*)?\}/;
const ESCAPED = /^(?:\{\{|\}\})/;
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
  if (reference) {
    return { length: reference[0].length, kind: 'variable' };
  }
  return { length: PLAIN.exec(rest)?.[0].length ?? 1, kind: HEADING.test(line) ? 'heading' : null };
}
