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
const HEADING = /^#{1,6}\s.*/;

/**
 * The next span of an `%%ai` cell's line.
 *
 * A brace that begins no reference is plain text: JSON, code and LaTeX stay what they are.
 *
 * @param rest the line from where the reader stands.
 * @param atStart whether that is the beginning of the line.
 * @param isFirst whether it is the cell's first line.
 */
export function nextSpan(rest: string, atStart: boolean, isFirst: boolean): ISpan {
  if (isFirst) {
    return { length: rest.length, kind: 'meta' };
  }
  const heading = atStart ? HEADING.exec(rest) : null;
  if (heading) {
    return { length: heading[0].length, kind: 'heading' };
  }
  const escaped = ESCAPED.exec(rest);
  if (escaped) {
    return { length: escaped[0].length, kind: 'escape' };
  }
  const reference = REFERENCE.exec(rest);
  if (reference) {
    return { length: reference[0].length, kind: 'variable' };
  }
  const plain = /^.[^{}]*/u.exec(rest);
  return { length: plain ? plain[0].length : 1, kind: null };
}
