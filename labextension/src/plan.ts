/** The plan of a notebook's AI cells, made of the cells as they stand in the front end. */

import { type IAiCell, isEstimate, readCell, requestsOf, timesOf } from './aicell';
import { nextSpan } from './language';
import type { IPlan, PlanState } from './wireShelves';

export interface ICellSource {
  readonly id: string;
  readonly source: string;
}

export interface IPlannedCell {
  readonly id: string;
  /** Its place among all cells, from 1. */
  readonly number: number;
  readonly title: string;
  readonly model: string;
  readonly state: PlanState;
  /** Whether it stands for what cannot be known before it runs: variables, rows, a saved prompt's values. */
  readonly estimate: boolean;
  readonly calls: number;
  readonly lowUsd: number | null;
  readonly highUsd: number | null;
  readonly said: string;
}

/** How many variables an AI cell's body names. */
export function variablesIn(body: string): number {
  let found = 0;
  for (const line of body.split('\n')) {
    for (let at = 0; at < line.length; ) {
      const span = nextSpan(line, at, false);
      found += span.kind === 'variable' ? 1 : 0;
      at += span.length;
    }
  }
  return found;
}

interface IAsked {
  readonly id: string;
  readonly number: number;
  readonly cell: IAiCell;
  readonly requests: readonly unknown[];
}

/** The AI cells among a notebook's cells, with what they ask. */
export function askedBy(cells: readonly ICellSource[]): readonly IAsked[] {
  return cells.flatMap(({ id, source }, index) => {
    const cell = readCell(source);
    return cell && (cell.body.trim() || cell.prompt)
      ? [{ id, number: index + 1, cell, requests: requestsOf(cell) }]
      : [];
  });
}

function sum(amounts: readonly (string | null)[], times: number): number | null {
  return amounts.some(amount => amount === null)
    ? null
    : amounts.reduce((total, amount) => total + Number(amount) * times, 0);
}

/** What becomes of each AI cell, out of the plans of all their requests in their order. */
export function plannedCells(asked: readonly IAsked[], plans: readonly IPlan[]): IPlannedCell[] {
  let at = 0;
  return asked.map(({ id, number, cell, requests }) => {
    const own = plans.slice(at, at + requests.length);
    at += requests.length;
    const worst =
      own.find(plan => plan.state === 'error') ??
      own.find(plan => plan.state === 'refused') ??
      own.find(plan => plan.state === 'live') ??
      own[0];
    const live = own.filter(plan => plan.state === 'live');
    const times = timesOf(cell);
    const stops = worst?.state === 'error' || worst?.state === 'refused';
    return {
      id,
      number,
      title: (cell.body.trim().split('\n')[0] || cell.prompt).slice(0, 80),
      model: cell.model || cell.prompt,
      state: worst?.state ?? 'error',
      estimate: isEstimate(cell, variablesIn(cell.body)),
      calls: stops ? 0 : live.length * times,
      lowUsd: stops
        ? 0
        : sum(
            live.map(plan => plan.lowUsd),
            times
          ),
      highUsd: stops
        ? 0
        : sum(
            live.map(plan => plan.highUsd),
            times
          ),
      said: worst?.said ?? ''
    };
  });
}
