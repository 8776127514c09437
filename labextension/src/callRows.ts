import type { ICallRow } from './wire';

/** Whether the newest calls go on with those that are known, so that none is missing between or was put in later. */
export function joins(newest: readonly ICallRow[], known: readonly ICallRow[]): boolean {
  const at = newest.findIndex(row => row.callId === known[0]?.callId);
  return at >= 0 && newest.slice(at).every((row, index) => row.callId === known[index]?.callId);
}

/** Two runs of calls as one, the first winning where both have a call. */
export function merged(first: readonly ICallRow[], then: readonly ICallRow[], most: number): readonly ICallRow[] {
  const seen = new Set(first.map(row => row.callId));
  return [...first, ...then.filter(row => !seen.has(row.callId))].slice(0, most);
}
