/**
 * What the relay sends, parsed and narrowed at the border.
 *
 * Money stays a text of decimal digits in US dollars, and null where it is unknown.
 */

export type GatewayState = 'unread' | 'running' | 'stopped' | 'starting' | 'error';

export interface IBudget {
  readonly scope: string;
  readonly name: string;
  readonly period: string;
  readonly limitUsd: string;
  readonly spentUsd: string;
  readonly heldUsd: string;
  readonly hard: boolean;
  /** What will be spent at the end of the period at the present pace; null where nobody can say. */
  readonly forecastUsd: string | null;
  /** The shares of the limit at which people are told. */
  readonly alertAt: readonly number[];
  readonly startsAt: string;
}

/** A call under way. */
export interface IUnderway {
  readonly callId: string;
  readonly startedAt: string;
  readonly model: string;
  readonly surface: string;
  /** What it waits for, with its place; empty for one that is being answered. */
  readonly waits: string;
}

export interface IState {
  readonly gateway: GatewayState;
  /** Why, in one sentence, when the gateway does not run. */
  readonly message: string;
  readonly version: string;
  readonly home: string;
  readonly demo: boolean;
  /** Whether the gateway is another machine's, which is neither started nor stopped from here. */
  readonly remote: boolean;
  readonly inFlight: number;
  readonly underway: readonly IUnderway[];
  readonly spendTodayUsd: string | null;
  readonly spendMonthUsd: string | null;
  readonly forecastMonthUsd: string | null;
  readonly callsToday: number | null;
  readonly currency: string;
  readonly usdRate: string;
  readonly defaultModel: string;
  readonly budgets: readonly IBudget[];
  readonly incidents: readonly string[];
}

export type CallStatus = 'ok' | 'error' | 'refused' | 'cancelled' | 'running';

export interface ICallRow {
  readonly callId: string;
  readonly startedAt: string;
  readonly model: string;
  readonly status: CallStatus;
  readonly errorType: string;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly costUsd: string | null;
  readonly latencyS: number | null;
  readonly cache: string;
}

export interface IMessage {
  readonly role: string;
  readonly content: string;
}

export interface ICall {
  readonly row: ICallRow;
  /** Every column of the call's row, in the ledger's own words. */
  readonly columns: ReadonlyMap<string, string>;
  readonly messages: readonly IMessage[];
  readonly settings: string;
  readonly text: string;
  /** Whether the payloads are gone, so that nothing can be shown of what was asked and answered. */
  readonly erased: boolean;
}

export type AnswerFormat = 'markdown' | 'text' | 'code' | 'json' | 'html';

/** The bundle `application/vnd.aiplat.call+json` of a cell's output. */
export interface IAnswer {
  readonly callId: string;
  readonly status: CallStatus;
  readonly text: string;
  readonly format: AnswerFormat;
  readonly model: string;
  readonly provider: string;
  readonly responseModel: string;
  readonly region: string;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly costUsd: string | null;
  readonly currency: string;
  readonly usdRate: string;
  readonly latencyS: number | null;
  readonly cache: string;
  readonly flags: readonly string[];
  readonly promptName: string;
  readonly promptVersion: string;
  readonly error: { readonly type: string; readonly message: string } | null;
}

type Fields = Readonly<Record<string, unknown>>;

/** Thrown when the other side sent something of another shape. */
export class WireError extends Error {}

export function fields(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new WireError(`${what} is not an object`);
  }
  return value as Fields;
}

export function text(from: Fields, name: string): string {
  const value = from[name];
  return typeof value === 'string' ? value : '';
}

export function money(from: Fields, name: string): string | null {
  const value = from[name];
  const digits = typeof value === 'number' ? String(value) : value;
  return typeof digits === 'string' && /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(digits) ? digits : null;
}

export function number(from: Fields, name: string): number | null {
  const value = from[name];
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

export function list(from: Fields, name: string): readonly unknown[] {
  const value = from[name];
  return Array.isArray(value) ? value : [];
}

export function texts(from: Fields, name: string): string[] {
  return list(from, name).filter(item => typeof item === 'string');
}

export function oneOf<T extends string>(value: unknown, allowed: readonly T[], otherwise: T): T {
  return allowed.find(item => item === value) ?? otherwise;
}

const GATEWAY_STATES = ['running', 'stopped', 'starting', 'error'] as const;
export const STATUSES = ['ok', 'error', 'refused', 'cancelled', 'running'] as const;
const FORMATS = ['markdown', 'text', 'code', 'json', 'html'] as const;

export const UNREAD: IState = {
  gateway: 'unread',
  message: '',
  version: '',
  home: '',
  demo: false,
  remote: false,
  inFlight: 0,
  underway: [],
  spendTodayUsd: null,
  spendMonthUsd: null,
  forecastMonthUsd: null,
  callsToday: null,
  currency: 'USD',
  usdRate: '1',
  defaultModel: '',
  budgets: [],
  incidents: []
};

function budget(value: unknown): IBudget {
  const from = fields(value, 'a budget');
  return {
    scope: text(from, 'scope'),
    name: text(from, 'name'),
    period: text(from, 'period'),
    limitUsd: money(from, 'limit_usd') ?? '0',
    spentUsd: money(from, 'spent_usd') ?? '0',
    heldUsd: money(from, 'held_usd') ?? '0',
    hard: from.hard === true,
    forecastUsd: money(from, 'forecast_usd'),
    alertAt: list(from, 'alert_at')
      .map(Number)
      .filter(share => share > 0),
    startsAt: text(from, 'starts_at')
  };
}

function underway(value: unknown): IUnderway {
  const from = fields(value, 'a call under way');
  const queued = typeof from.queued === 'object' && from.queued !== null ? fields(from.queued, 'a queue') : null;
  const place = queued ? number(queued, 'position') : null;
  return {
    callId: text(from, 'call_id'),
    startedAt: text(from, 'started_at'),
    model: text(from, 'model'),
    surface: text(from, 'surface'),
    waits: queued ? `${text(queued, 'limit')}${place === null ? '' : ` · ${place}`}` : ''
  };
}

export function parseState(value: unknown): IState {
  const outer = fields(value, 'the state');
  const state = oneOf(outer.state, GATEWAY_STATES, 'error');
  const base: IState = { ...UNREAD, gateway: state, message: text(outer, 'message'), remote: outer.remote === true };
  if (outer.gateway === null || outer.gateway === undefined) {
    return base;
  }
  const from = fields(outer.gateway, 'the gateway’s status');
  return {
    ...base,
    version: text(from, 'version'),
    home: text(from, 'home'),
    demo: from.demo === true,
    inFlight: Array.isArray(from.in_flight) ? from.in_flight.length : (number(from, 'in_flight') ?? 0),
    spendTodayUsd: money(from, 'spend_today_usd'),
    underway: list(from, 'calls_in_flight').map(underway),
    spendMonthUsd: money(outer, 'spend_month_usd'),
    forecastMonthUsd: money(outer, 'forecast_month_usd'),
    callsToday: number(from, 'calls_today'),
    currency: text(from, 'currency') || 'USD',
    usdRate: money(from, 'usd_rate') ?? '1',
    defaultModel: text(from, 'default_model'),
    budgets: list(from, 'budgets').map(budget),
    incidents: texts(from, 'incidents')
  };
}

function row(from: Fields): ICallRow {
  return {
    callId: text(from, 'call_id'),
    startedAt: text(from, 'started_at'),
    model: text(from, 'request_model'),
    status: oneOf(from.status, STATUSES, 'error'),
    errorType: text(from, 'error_type'),
    inputTokens: number(from, 'input_tokens'),
    outputTokens: number(from, 'output_tokens'),
    costUsd: money(from, 'cost_usd'),
    latencyS: number(from, 'latency_s'),
    cache: text(from, 'cache')
  };
}

export function parseCalls(value: unknown): ICallRow[] {
  return list(fields(value, 'the list of calls'), 'calls').map(item => row(fields(item, 'a call')));
}

/** The text of a message: plain, or the text parts of a list with the other parts named. */
function content(value: unknown): string {
  if (typeof value === 'string') {
    return value;
  }
  if (!Array.isArray(value)) {
    return value === null || value === undefined ? '' : JSON.stringify(value, null, 2);
  }
  return value
    .map(part => {
      const from = fields(part, 'a part of a message');
      return typeof from.text === 'string' ? from.text : `[${text(from, 'type') || 'attachment'}]`;
    })
    .join('\n');
}

function shown(value: unknown): string {
  if (value === null || value === undefined) {
    return '';
  }
  if (Array.isArray(value)) {
    return value.map(shown).join(', ');
  }
  if (typeof value === 'object') {
    return Object.entries(value)
      .map(([key, item]) => `${key}=${shown(item)}`)
      .join(', ');
  }
  return String(value);
}

const PAYLOAD_FIELDS: ReadonlySet<string> = new Set(['messages', 'settings', 'inputs', 'text', 'body', 'embeddings']);

function sum(from: Fields, names: readonly string[]): number | null {
  const known = names.map(name => number(from, name)).filter(count => count !== null);
  return known.length ? known.reduce((total, count) => total + count, 0) : null;
}

export function parseCall(value: unknown): ICall {
  const from = fields(value, 'the call');
  const settings = from.settings && typeof from.settings === 'object' ? from.settings : {};
  const asked = [
    ...list(from, 'messages').map(item => {
      const message = fields(item, 'a message');
      return { role: text(message, 'role'), content: content(message.content) };
    }),
    ...texts(from, 'inputs').map(item => ({ role: 'input', content: item }))
  ];
  return {
    row: {
      ...row(from),
      inputTokens: sum(from, ['input_tokens', 'cache_read_tokens', 'cache_write_tokens']),
      outputTokens: sum(from, ['output_tokens', 'reasoning_tokens'])
    },
    columns: new Map(
      Object.entries(from)
        .filter(([name]) => !PAYLOAD_FIELDS.has(name))
        .map(([name, item]) => [name, shown(item)])
    ),
    messages: asked,
    settings: Object.keys(settings).length ? JSON.stringify(settings, null, 2) : '',
    text: text(from, 'text'),
    erased: asked.length === 0 && text(from, 'request_hash') !== ''
  };
}

export function parseAnswer(value: unknown): IAnswer {
  const from = fields(value, 'the answer');
  const error = from.error && typeof from.error === 'object' ? fields(from.error, 'the error') : null;
  return {
    callId: text(from, 'call_id'),
    status: oneOf(from.status, STATUSES, 'error'),
    text: text(from, 'text'),
    format: oneOf(from.format, FORMATS, 'text'),
    model: text(from, 'model'),
    provider: text(from, 'provider'),
    responseModel: text(from, 'response_model'),
    region: text(from, 'region'),
    inputTokens: number(from, 'input_tokens'),
    outputTokens: number(from, 'output_tokens'),
    costUsd: money(from, 'cost_usd'),
    currency: text(from, 'currency') || 'USD',
    usdRate: money(from, 'usd_rate') ?? '1',
    latencyS: number(from, 'latency_s'),
    cache: text(from, 'cache'),
    flags: texts(from, 'flags'),
    promptName: text(from, 'prompt_name'),
    promptVersion: text(from, 'prompt_version'),
    error: error && { type: text(error, 'type'), message: text(error, 'message') }
  };
}

const CALL_ID = /^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$/i;

/** Whether a text can be the id of a call; a notebook may come from anywhere. */
export function isCallId(value: unknown): value is string {
  return typeof value === 'string' && CALL_ID.test(value);
}

/** The sentence of a failed answer of the relay, or an empty text. */
export function parseError(value: unknown): string {
  if (typeof value !== 'object' || value === null) {
    return '';
  }
  const outer = fields(value, 'the error');
  return typeof outer.error === 'object' && outer.error !== null
    ? text(fields(outer.error, 'the error'), 'message')
    : text(outer, 'message');
}
