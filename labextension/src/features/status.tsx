import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import { Signal } from '@lumino/signaling';
import type { ReactElement } from 'react';

import { CommandIDs } from '../commands';
import { IPlatform } from '../tokens';
import type { IState } from '../wire';

/** What the status bar says in a few letters, and in a sentence to who hovers or listens. */
export function statusText(model: IPlatform, trans: TranslationBundle): { short: string; long: string } {
  const state: IState = model.state;
  const spend = model.money(state.spendTodayUsd);
  switch (state.gateway) {
    case 'running':
      return {
        short: trans.__('AI: %1 today', spend),
        long: trans._n(
          'AI gateway running. Spent today: %2, in %1 call.',
          'AI gateway running. Spent today: %2, in %1 calls.',
          state.callsToday ?? 0,
          spend
        )
      };
    case 'starting':
      return { short: trans.__('AI: starting…'), long: trans.__('The AI gateway is starting.') };
    case 'stopped':
      return {
        short: trans.__('AI: stopped'),
        long: trans.__('The AI gateway is stopped. The next %1 cell starts it.', '%%ai')
      };
    case 'error':
      return { short: trans.__('AI: error'), long: trans.__('AI gateway: %1', state.message) };
    default:
      return { short: trans.__('AI: …'), long: trans.__('The AI gateway’s state is being read.') };
  }
}

class StatusItem extends ReactWidget {
  constructor(
    private readonly model: IPlatform,
    private readonly trans: TranslationBundle,
    private readonly open: () => void
  ) {
    super();
    this.id = 'aiplat-status';
    this.addClass('jp-mod-highlighted');
  }

  protected render(): ReactElement {
    return <UseSignal signal={this.model.changed}>{() => this.item()}</UseSignal>;
  }

  private item(): ReactElement {
    const { short, long } = statusText(this.model, this.trans);
    const more = this.trans.__('Open the AI panel.');
    return (
      <button
        type="button"
        className="aiplat-StatusItem jp-StatusBar-TextItem"
        data-state={this.model.state.gateway}
        title={`${long} ${more}`}
        aria-label={`${short}. ${more}`}
        onClick={this.open}
      >
        <span className="aiplat-Dot" data-state={this.model.state.gateway} aria-hidden="true" />
        {short}
      </button>
    );
  }
}

/** Spend today and the gateway's state in the status bar. */
export const status: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:status',
  description: 'Shows spend today and the gateway’s state in the status bar.',
  autoStart: true,
  requires: [IPlatform],
  optional: [IStatusBar, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    model: IPlatform,
    statusBar: IStatusBar | null,
    translator: ITranslator | null
  ): void => {
    if (!statusBar) {
      return;
    }
    const trans = (translator ?? nullTranslator).load('aiplat_lab');
    const active = new Signal<IPlatform, void>(model);
    model.preferencesChanged.connect(() => active.emit());
    statusBar.registerStatusItem('aiplat-lab:status', {
      item: new StatusItem(model, trans, () => void app.commands.execute(CommandIDs.openPanel)),
      align: 'right',
      rank: 20,
      isActive: () => model.preferences.showStatus,
      activeStateChanged: active
    });
  }
};
