/** Prompts, evalsets and plans as the relay sends them, parsed and narrowed. */

import { fields, list, money, number, oneOf, text } from './wire';

export interface IPrompt {
  readonly name: string;
  /** The newest version; empty for one that is shipped and was never saved. */
  readonly version: string;
  readonly versions: number;
  readonly labels: readonly (readonly [label: string, version: string])[];
  readonly shipped: boolean;
  readonly description: string;
}

export interface IPromptText {
  readonly reference: string;
  readonly description: string;
  readonly model: string;
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly variables: readonly string[];
  /** A cell that asks it. */
  readonly cell: string;
}

export interface IEvalset {
  readonly name: string;
  readonly samples: number | null;
  readonly last: IEvalRun | null;
}

export interface IEvalRun {
  readonly startedAt: string;
  /** Empty while it is under way. */
  readonly status: string;
  readonly asked: string;
  readonly score: number | null;
  readonly errors: number;
  readonly costUsd: string | null;
}

export type PlanState = 'replay' | 'live' | 'refused' | 'error';

export interface IPlan {
  readonly state: PlanState;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  readonly lowUsd: string | null;
  readonly highUsd: string | null;
  /** Why it is refused or wrong, or what it waits for. */
  readonly said: string;
}

const PLAN_STATES = ['replay', 'live', 'refused', 'error'] as const;

export function parsePrompts(value: unknown): IPrompt[] {
  return list(fields(value, 'the list of prompts'), 'prompts').map(item => {
    const from = fields(item, 'a prompt');
    const labels = typeof from.labels === 'object' && from.labels !== null ? Object.entries(from.labels) : [];
    return {
      name: text(from, 'name'),
      version: text(from, 'version'),
      versions: number(from, 'versions') ?? 0,
      labels: labels.map(([label, version]) => [label, String(version)] as const),
      shipped: from.shipped === true,
      description: text(from, 'description')
    };
  });
}

export function parsePrompt(value: unknown): IPromptText {
  const from = fields(value, 'the prompt');
  return {
    reference: text(from, 'reference'),
    description: text(from, 'description'),
    model: text(from, 'model'),
    messages: list(from, 'messages').map(item => {
      const message = fields(item, 'a message');
      return { role: text(message, 'role'), content: text(message, 'content') };
    }),
    variables: list(from, 'variables').map(item => text(fields(item, 'a variable'), 'name')),
    cell: text(from, 'cell')
  };
}

export function parseEvalsets(value: unknown): IEvalset[] {
  return list(fields(value, 'the list of evalsets'), 'evalsets').map(item => {
    const from = fields(item, 'an evalset');
    const last = from.last === null || from.last === undefined ? null : fields(from.last, 'a run');
    return {
      name: text(from, 'name'),
      samples: number(from, 'samples'),
      last: last && {
        startedAt: text(last, 'started_at'),
        status: text(last, 'status'),
        asked: [text(last, 'prompt'), text(last, 'model')].filter(Boolean).join(' · '),
        score: number(last, 'score'),
        errors: number(last, 'errors') ?? 0,
        costUsd: money(last, 'cost_usd')
      }
    };
  });
}

export function parsePlans(value: unknown): IPlan[] {
  return list(fields(value, 'the plan'), 'plans').map(item => {
    const from = fields(item, 'the plan of a cell');
    const state = oneOf(from.state, PLAN_STATES, 'error');
    const policies = list(from, 'policies').map(one => fields(one, 'a verdict'));
    const telling = policies.find(one => one.verdict === 'refuses') ?? policies.find(one => one.verdict === 'waits');
    const wrong =
      typeof from.error === 'object' && from.error !== null ? text(fields(from.error, 'the error'), 'message') : '';
    return {
      state,
      inputTokens: number(from, 'input_tokens'),
      outputTokens: number(from, 'output_tokens_most'),
      lowUsd: money(from, 'low_usd'),
      highUsd: money(from, 'high_usd'),
      said: wrong || (telling ? text(telling, 'said') : '')
    };
  });
}

/** The names of the models that can be asked. */
export function parseModels(value: unknown): string[] {
  return list(fields(value, 'the list of models'), 'models').map(item => text(fields(item, 'a model'), 'name'));
}
