/** What a cell's metadata keeps of the call that its answer came from. */

const TEXTS = [
  'call_id',
  'status',
  'model',
  'response_model',
  'provider',
  'region',
  'prompt_name',
  'prompt_version',
  'cost_usd',
  'request_hash',
  'response_hash',
  'answered_at',
  'replay_of'
] as const;

export type IProvenance = { readonly [name: string]: string | boolean };

/** The fields of a record that say where an answer came from, without its text; null for what is no record. */
export function provenanceOf(record: unknown): IProvenance | null {
  if (typeof record !== 'object' || record === null) {
    return null;
  }
  const from = record as Readonly<Record<string, unknown>>;
  if (typeof from.call_id !== 'string' || from.call_id === '' || from.status === 'running') {
    return null;
  }
  const kept: Record<string, string | boolean> = {};
  for (const name of TEXTS) {
    const value = from[name];
    if (typeof value === 'string' && value !== '') {
      kept[name] = value;
    }
  }
  kept.replayed = from.replayed === true || from.cache === 'hit';
  return kept;
}
