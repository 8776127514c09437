/** Which thresholds of budgets people have yet to be told of. */

import { share } from './figures';
import type { IBudget } from './wire';

export interface IAlert {
  readonly budget: IBudget;
  /** The highest threshold that was passed, as a share of the limit. */
  readonly threshold: number;
}

function key(budget: IBudget, threshold: number): string {
  return JSON.stringify([budget.scope, budget.name, budget.period, budget.startsAt, budget.limitUsd, threshold]);
}

/**
 * The budgets that passed a threshold of which nobody was told, one alert each, and what has been told after them.
 *
 * A threshold is told once for each budget, period and limit; what no budget has any more is forgotten.
 */
export function alertsOf(
  budgets: readonly IBudget[],
  told: readonly string[]
): { readonly alerts: readonly IAlert[]; readonly told: readonly string[] } {
  const before = new Set(told);
  const after: string[] = [];
  const alerts: IAlert[] = [];
  for (const budget of budgets) {
    const part = share(budget.spentUsd, budget.limitUsd);
    const passed = budget.alertAt.filter(threshold => part >= threshold).sort((one, two) => one - two);
    const highest = passed.at(-1);
    after.push(...passed.map(threshold => key(budget, threshold)));
    if (highest !== undefined && !before.has(key(budget, highest))) {
      alerts.push({ budget, threshold: highest });
    }
  }
  return { alerts, told: after };
}
