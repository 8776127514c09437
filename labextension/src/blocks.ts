const BLOCK = 10_000;

/** A long text in parts of whole lines where it has lines, of which a browser can lay out only those that are looked at. */
export function blocks(text: string): string[] {
  const found: string[] = [];
  for (let at = 0; at < text.length; ) {
    const line = text.indexOf('\n', at + BLOCK);
    const end = line < 0 || line > at + 2 * BLOCK ? whole(text, Math.min(at + BLOCK, text.length)) : line + 1;
    found.push(text.slice(at, end));
    at = end;
  }
  return found;
}

/** The same place, or the one before it where it would cut a sign of two units in half. */
function whole(text: string, at: number): number {
  const unit = text.charCodeAt(at - 1);
  return at < text.length && unit >= 0xd800 && unit < 0xdc00 ? at - 1 : at;
}
