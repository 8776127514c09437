import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';

import { alertsOf, type IAlert } from '../alerts';
import { CommandIDs } from '../commands';
import { IPlatform } from '../tokens';

const KEPT = 'aiplat-lab:told-budgets';

/** What was told before; shared by the tabs of a browser, so that each threshold is told in one of them. */
function told(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEPT) ?? '[]');
    return Array.isArray(kept) ? kept.filter(item => typeof item === 'string') : [];
  } catch {
    return [];
  }
}

function keep(all: readonly string[]): void {
  try {
    localStorage.setItem(KEPT, JSON.stringify(all));
  } catch {
    // A browser that keeps nothing tells again after a reload, which does no harm.
  }
}

function sentence({ budget, threshold }: IAlert, model: IPlatform, trans: TranslationBundle): string {
  const who = budget.scope === 'everyone' ? trans.__('everyone') : `${budget.scope} ${budget.name}`;
  const amounts = trans.__('%1 of %2', model.money(budget.spentUsd), model.money(budget.limitUsd));
  return threshold < 1
    ? trans.__('The AI budget of %1 has passed %2%: %3 spent.', who, Math.round(threshold * 100), amounts)
    : budget.hard
      ? trans.__('The AI budget of %1 is used up: %2 spent. Further calls are refused.', who, amounts)
      : trans.__('The AI budget of %1 is used up: %2 spent. Calls go on, since it only warns.', who, amounts);
}

/** Tells once when a budget passes one of its thresholds. */
export const alerts: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:alerts',
  description: 'Tells once when an AI budget passes one of its thresholds.',
  autoStart: true,
  requires: [IPlatform],
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, model: IPlatform, translator: ITranslator | null): void => {
    const trans = (translator ?? nullTranslator).load('aiplat_lab');
    model.changed.connect((_, state) => {
      if (state.gateway !== 'running' || !model.preferences.notifyBudgets) {
        return;
      }
      const found = alertsOf(state.budgets, told());
      keep(found.told);
      for (const alert of found.alerts) {
        Notification.emit(
          sentence(alert, model, trans),
          alert.threshold >= 1 && alert.budget.hard ? 'error' : 'warning',
          {
            autoClose: alert.threshold >= 1 ? false : 15_000,
            actions: [
              {
                label: trans.__('Show budgets'),
                callback: () => void app.commands.execute(CommandIDs.openPanel)
              }
            ]
          }
        );
      }
    });
  }
};
