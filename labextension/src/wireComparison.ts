/** The record of an A/B experiment in a notebook, parsed and narrowed: it may come from anywhere. */

import { type CallStatus, fields, list, money, number, oneOf, text } from './wire';

export type VerdictState = 'winner' | 'no_difference' | 'open';
export type AskedState = CallStatus | 'waiting';

export interface ISide {
  readonly name: string;
  readonly prompt: string;
  readonly model: string;
  readonly settings: string;
  readonly votes: number;
  readonly answered: number;
  readonly failed: number;
  /** The mean over the answers that are shown, in US dollars; null where it is unknown. */
  readonly meanCostUsd: string | null;
  readonly medianLatencyS: number | null;
  readonly meanOutputTokens: number | null;
}

export interface IComparedAnswer {
  readonly variant: string;
  readonly status: AskedState;
  readonly text: string;
  readonly callId: string;
  readonly model: string;
  readonly responseModel: string;
  readonly provider: string;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly costUsd: string | null;
  readonly latencyS: number | null;
  readonly cached: boolean;
  readonly cut: boolean;
  readonly error: string;
  readonly errorType: string;
}

export interface IVote {
  readonly rater: string;
  /** A variant's name, `tie` or `none`. */
  readonly winner: string;
  readonly reason: string;
  readonly stored: boolean;
}

export interface ICompared {
  readonly id: string;
  readonly text: string;
  readonly state: 'waiting' | 'answered' | 'judged';
  readonly votes: readonly IVote[];
  readonly answers: readonly IComparedAnswer[];
  /** How many answers there are that may not be shown before the vote. */
  readonly hidden: number;
}

export interface IComparison {
  readonly experiment: string;
  readonly name: string;
  readonly rater: string;
  readonly blind: boolean;
  readonly currency: string;
  readonly usdRate: string;
  readonly verdict: { readonly state: VerdictState; readonly sentence: string; readonly winner: string };
  readonly unstoredVotes: number;
  readonly sides: readonly ISide[];
  readonly inputs: readonly ICompared[];
}

const VERDICTS = ['winner', 'no_difference', 'open'] as const;
const STATES = ['waiting', 'answered', 'judged'] as const;
const ASKED = ['ok', 'error', 'refused', 'cancelled', 'running', 'waiting'] as const;

function settings(value: unknown): string {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.entries(value)
        .map(([key, item]) => `${key} ${typeof item === 'object' ? JSON.stringify(item) : String(item)}`)
        .join(', ')
    : '';
}

function side(value: unknown): ISide {
  const from = fields(value, 'a variant');
  return {
    name: text(from, 'name'),
    prompt: text(from, 'prompt'),
    model: text(from, 'model'),
    settings: settings(from.settings),
    votes: number(from, 'votes') ?? 0,
    answered: number(from, 'answered') ?? 0,
    failed: number(from, 'failed') ?? 0,
    meanCostUsd: money(from, 'mean_cost_usd'),
    medianLatencyS: number(from, 'median_latency_s'),
    meanOutputTokens: number(from, 'mean_output_tokens')
  };
}

function answer(value: unknown): IComparedAnswer {
  const from = fields(value, 'an answer');
  return {
    variant: text(from, 'variant'),
    status: oneOf(from.status, ASKED, 'error'),
    text: text(from, 'text'),
    callId: text(from, 'call_id'),
    model: text(from, 'model'),
    responseModel: text(from, 'response_model'),
    provider: text(from, 'provider'),
    inputTokens: number(from, 'input_tokens'),
    outputTokens: number(from, 'output_tokens'),
    costUsd: money(from, 'cost_usd'),
    latencyS: number(from, 'latency_s'),
    cached: from.cache === 'hit',
    cut: from.finish_reason === 'length',
    error: text(from, 'error'),
    errorType: text(from, 'error_type')
  };
}

function vote(value: unknown): IVote {
  const from = fields(value, 'a vote');
  return {
    rater: text(from, 'rater'),
    winner: text(from, 'winner'),
    reason: text(from, 'reason'),
    stored: from.stored !== false
  };
}

function compared(value: unknown): ICompared {
  const from = fields(value, 'an input');
  const own = from.vote === null || from.vote === undefined ? [] : [vote(from.vote)];
  return {
    id: text(from, 'id'),
    text: text(from, 'text'),
    state: oneOf(from.state, STATES, 'waiting'),
    votes: [...own, ...list(from, 'others').map(vote)],
    answers: list(from, 'answers').map(answer),
    hidden: number(from, 'hidden') ?? 0
  };
}

export function parseComparison(value: unknown): IComparison {
  const from = fields(value, 'the experiment');
  const verdict = fields(from.verdict ?? {}, 'the verdict');
  return {
    experiment: text(from, 'experiment'),
    name: text(from, 'name'),
    rater: text(from, 'rater'),
    blind: from.blind === true,
    currency: text(from, 'currency') || 'USD',
    usdRate: money(from, 'usd_rate') ?? '1',
    verdict: {
      state: oneOf(verdict.state, VERDICTS, 'open'),
      sentence: text(verdict, 'sentence'),
      winner: text(verdict, 'winner')
    },
    unstoredVotes: number(from, 'unstored_votes') ?? 0,
    sides: list(from, 'variants').map(side),
    inputs: list(from, 'inputs').map(compared)
  };
}
