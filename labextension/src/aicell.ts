/** An `%%ai` cell read as the magic reads it, as far as a plan and a toolbar need it. */

import { isAiCell } from './language';

/** The options of `%%ai`: whether each takes a value, and what it is called in a menu. */
export const OPTIONS: Readonly<Record<string, boolean>> = {
  '-m': true,
  '--model': true,
  '-f': true,
  '--format': true,
  '-o': true,
  '--out': true,
  '--prompt': true,
  '--system': true,
  '--temperature': true,
  '--max-tokens': true,
  '--seed': true,
  '--stop': true,
  '--timeout': true,
  '--cache': true,
  '--fresh': false,
  '--stream': false,
  '--no-stream': false,
  '--completion': false,
  '--quiet': false,
  '--tag': true,
  '--team': true,
  '--project': true,
  '--schema': true,
  '--tools': true,
  '--image': true,
  '--file': true,
  '--replay': true,
  '--thread': true,
  '--history': true,
  '--retries': true,
  '--max-cost': true,
  '--dry-run': false,
  '--show-request': false,
  '--vs': true,
  '--repeat': true,
  '--each': true,
  '--into': true,
  '--workers': true,
  '--bg': false,
  '--lenient': false
};

export interface IAiCell {
  readonly line: string;
  readonly body: string;
  readonly model: string;
  readonly prompt: string;
  /** Values by option; a flag has an empty one. */
  readonly options: ReadonlyMap<string, readonly string[]>;
}

/** The words of a first line; quotes hold one together, and so do braces. */
export function words(line: string): string[] {
  return [...line.matchAll(/(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\{[^}]*\}|[^\s"'{])+/g)].map(found => {
    const word = found[0];
    const quoted = /^(["'])(.*)\1$/s.exec(word);
    return quoted ? (quoted[2] ?? '').replace(/\\(["'\\])/g, '$1') : word;
  });
}

/** The first line's words as a model and options. */
function readLine(line: string): { model: string; options: Map<string, string[]> } {
  const options = new Map<string, string[]>();
  let model = '';
  const rest = words(line);
  while (rest.length) {
    const word = rest.shift() ?? '';
    const [name = '', joined] = word.startsWith('--') ? word.split(/=(.*)/s, 2) : [word];
    const takes = OPTIONS[name];
    if (takes !== undefined) {
      options.set(name, [...(options.get(name) ?? []), takes ? (joined ?? rest.shift() ?? '') : '']);
    } else if (!word.startsWith('-')) {
      model ||= word;
    }
  }
  const named = ['-m', '--model'].flatMap(name => options.get(name) ?? []).find(value => !value.startsWith('{'));
  return { model: model || named || '', options };
}

/** A cell read, or null for one that asks no model. */
export function readCell(source: string): IAiCell | null {
  if (!isAiCell(source)) {
    return null;
  }
  const end = source.indexOf('\n');
  const line = (end < 0 ? source : source.slice(0, end)).slice('%%ai'.length).trim();
  const body = end < 0 ? '' : source.slice(end + 1);
  const { model, options } = readLine(line);
  return { line, body, model, prompt: options.get('--prompt')?.at(-1) ?? '', options };
}

const NUMBERS: Readonly<Record<string, string>> = {
  '--temperature': 'temperature',
  '--max-tokens': 'max_tokens',
  '--seed': 'seed'
};

/** The settings that a cell's options make, under OpenAI's names. */
export function settingsOf(cell: IAiCell): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [option, name] of Object.entries(NUMBERS)) {
    const value = Number(cell.options.get(option)?.at(-1) ?? Number.NaN);
    if (Number.isFinite(value)) {
      found[name] = value;
    }
  }
  const stop = cell.options.get('--stop');
  if (stop) {
    found.stop = stop.map(text => text.replaceAll('\\n', '\n'));
  }
  if (cell.options.has('--completion')) {
    found.completion = true;
  }
  return found;
}

/** How many calls a cell makes for each row: its variants times its repeats. */
export function timesOf(cell: IAiCell): number {
  const repeat = Number(cell.options.get('--repeat')?.at(-1) ?? 1);
  return Number.isInteger(repeat) && repeat > 0 ? repeat : 1;
}

/** The requests of a cell, one for each variant, in the relay's shape. Variables stand as they were typed. */
export function requestsOf(cell: IAiCell): Record<string, unknown>[] {
  const system = cell.options.get('--system')?.at(-1);
  const content = cell.body
    .replace(/^\n+/, '')
    .trimEnd()
    .replace(/\{\{([A-Za-z_]\w*)\}\}/g, '{$1}');
  const request = {
    model: cell.model,
    prompt: cell.prompt,
    messages: [...(system ? [{ role: 'system', content: system }] : []), { role: 'user', content }],
    settings: settingsOf(cell),
    cache: cell.options.has('--fresh') ? 'refresh' : (cell.options.get('--cache')?.at(-1) ?? 'auto'),
    attribution: {
      ...(cell.options.get('--team') ? { team: cell.options.get('--team')?.at(-1) } : {}),
      ...(cell.options.get('--project') ? { project: cell.options.get('--project')?.at(-1) } : {})
    }
  };
  return [request, ...(cell.options.get('--vs') ?? []).map(model => ({ ...request, model }))];
}

const UNSEEN = [
  '--prompt',
  '--schema',
  '--tools',
  '--image',
  '--file',
  '--thread',
  '--history',
  '--each',
  '-f',
  '--format'
];

/** Whether what is sent depends on more than the cell's own text, so that its plan is an estimate. */
export function isEstimate(cell: IAiCell, variables: number): boolean {
  return variables > 0 || UNSEEN.some(option => cell.options.has(option));
}

/** The source with an option added to its first line. */
export function withOption(source: string, option: string): string {
  const end = source.indexOf('\n');
  const line = (end < 0 ? source : source.slice(0, end)).trimEnd();
  return `${line} ${option}${end < 0 ? '' : source.slice(end)}`;
}

/** The source as it runs when the answer must be a new one. */
export function afresh(source: string): string {
  return readCell(source)?.options.has('--fresh') ? source : withOption(source, '--fresh');
}

/** A value for the first line: quoted where it has to be. */
export function quoted(value: string): string {
  return /^[\w./:@-]+$/.test(value) ? value : `"${value.replace(/["\\]/g, '\\$&')}"`;
}

const ASSIGNED = /^(?:for\s+)?([A-Za-z_]\w*)(?:\s*,\s*([A-Za-z_]\w*))?\s*(?::[^=\n]+)?(?:=(?!=)|\s+in\s)/gm;

/** The variables that one cell makes. */
function madeBy(source: string): string[] {
  const cell = readCell(source);
  if (cell) {
    return ['-o', '--out'].flatMap(name => cell.options.get(name) ?? []);
  }
  return source.startsWith('%%') ? [] : [...source.matchAll(ASSIGNED)].flatMap(match => match.slice(1).filter(Boolean));
}

/** The variables that a notebook's cells make, in the order of the alphabet; read from their text, without a kernel. */
export function variablesOf(sources: readonly string[]): string[] {
  return [...new Set(sources.flatMap(madeBy))].filter(name => name && !name.startsWith('_')).sort();
}

export interface ICompletion {
  /** What is offered, and where the word that it replaces begins. */
  readonly start: number;
  readonly items: readonly { readonly text: string; readonly kind: 'option' | 'model' | 'prompt' | 'variable' }[];
}

const VALUES: Readonly<Record<string, readonly string[]>> = {
  '-f': ['markdown', 'text', 'code', 'json', 'html', 'math'],
  '--format': ['markdown', 'text', 'code', 'json', 'html', 'math'],
  '--cache': ['auto', 'on', 'refresh', 'off'],
  '--replay': ['auto', 'only', 'refresh', 'off']
};

/** What may stand at a place of an `%%ai` cell. */
export function complete(
  source: string,
  offset: number,
  known: { models: readonly string[]; prompts: readonly string[]; variables: readonly string[] }
): ICompletion {
  const before = source.slice(0, offset);
  const pick = (start: number, kind: ICompletion['items'][number]['kind'], from: readonly string[]) => ({
    start,
    items: from.filter(text => text.startsWith(source.slice(start, offset))).map(text => ({ text, kind }))
  });
  if (before.includes('\n')) {
    const open = /\{([A-Za-z_]\w*)?$/.exec(before);
    return open ? pick(offset - (open[1] ?? '').length, 'variable', known.variables) : { start: offset, items: [] };
  }
  const word = /\S*$/.exec(before)?.[0] ?? '';
  const start = offset - word.length;
  if (start < '%%ai '.length) {
    return { start: offset, items: [] };
  }
  const previous = before.slice(0, start).trim().split(/\s+/).at(-1) ?? '';
  if (VALUES[previous]) {
    return pick(start, 'option', VALUES[previous]);
  }
  if (previous === '--prompt') {
    return pick(start, 'prompt', known.prompts);
  }
  if (previous === '-m' || previous === '--model') {
    return pick(start, 'model', known.models);
  }
  if (previous === '--vs') {
    const both = pick(start, 'model', known.models);
    return { start, items: [...both.items, ...pick(start, 'prompt', known.prompts).items] };
  }
  if (OPTIONS[previous]) {
    return { start: offset, items: [] };
  }
  const options = pick(
    start,
    'option',
    Object.keys(OPTIONS).filter(name => name.startsWith('--'))
  );
  const named = readCell(before.slice(0, start))?.model;
  const models = named || word.startsWith('-') ? [] : pick(start, 'model', known.models).items;
  return { start, items: [...models, ...options.items] };
}
