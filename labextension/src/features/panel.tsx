import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import type { ReactElement } from 'react';

import { CommandIDs, NO_ARGS } from '../commands';
import { callsIcon } from '../icons';
import { NotebookCalls } from '../notebookCalls';
import { IPlatform } from '../tokens';
import { Calls } from '../views/calls';
import { Budgets, GatewayState, Incidents, Spend } from '../views/spend';

interface IActions {
  readonly start: () => void;
  readonly open: (callId: string) => void;
  readonly dashboard: () => void;
  /** Null where there is no notebook to insert into. */
  readonly insert: () => (() => void) | null;
}

class Panel extends ReactWidget {
  constructor(
    private readonly model: IPlatform,
    private readonly calls: NotebookCalls,
    private readonly trans: TranslationBundle,
    private readonly actions: IActions
  ) {
    super();
    this.id = 'aiplat-panel';
    this.addClass('aiplat-Panel');
    this.title.icon = callsIcon;
    this.title.caption = trans.__('AI calls and costs');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('AI calls and costs'));
    model.changed.connect(this.redraw, this);
    calls.changed.connect(this.redraw, this);
  }

  dispose(): void {
    Signal.clearData(this);
    this.calls.dispose();
    super.dispose();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.calls.watch(true);
  }

  protected onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.calls.watch(false);
  }

  protected render(): ReactElement {
    return <UseSignal signal={this.drawn}>{() => this.content()}</UseSignal>;
  }

  private content(): ReactElement {
    const { model, trans, calls, actions } = this;
    const running = model.state.gateway === 'running';
    return (
      <>
        <div className="aiplat-Panel-head">
          <h2>{trans.__('AI')}</h2>
          <button type="button" className="aiplat-Button" onClick={actions.dashboard}>
            {trans.__('Open cost dashboard')}
          </button>
        </div>
        <div className="aiplat-Panel-body">
          <GatewayState model={model} trans={trans} start={actions.start} />
          {running && <Spend model={model} trans={trans} />}
          {running && <Incidents model={model} trans={trans} />}
          {running && <Budgets model={model} trans={trans} />}
          {running && (
            <Calls
              model={model}
              trans={trans}
              open={actions.open}
              notebook={calls.notebook}
              calls={calls.rows}
              problem={calls.problem}
              insert={actions.insert()}
            />
          )}
        </div>
      </>
    );
  }

  private redraw(): void {
    this.drawn.emit();
  }

  private readonly drawn = new Signal<this, void>(this);
}

/** The left panel: spend, budgets, gateway, and the last calls of the notebook. */
export const panel: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:panel',
  description: 'The left panel with spend, budgets, the gateway’s state and the last calls of the notebook.',
  autoStart: true,
  requires: [IPlatform],
  optional: [INotebookTracker, ITranslator, ICommandPalette, ILauncher, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    model: IPlatform,
    tracker: INotebookTracker | null,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('aiplat_lab');
    const { commands } = app;
    const calls = new NotebookCalls(model, tracker, path => app.serviceManager.contents.localPath(path));
    const widget = new Panel(model, calls, trans, {
      start: () => void commands.execute(CommandIDs.startGateway),
      open: callId => void commands.execute(CommandIDs.openCall, { callId }),
      dashboard: () => void commands.execute(CommandIDs.openDashboard),
      insert: () =>
        commands.hasCommand(CommandIDs.insertCell) && commands.isEnabled(CommandIDs.insertCell)
          ? () => void commands.execute(CommandIDs.insertCell)
          : null
    });
    app.shell.add(widget, 'left', { rank: 450 });
    restorer?.add(widget, widget.id);

    commands.addCommand(CommandIDs.openPanel, {
      label: args => (args.isPalette ? trans.__('Open the AI Panel') : trans.__('AI calls')),
      caption: trans.__('Show AI spend, budgets and the last calls of this notebook'),
      icon: callsIcon,
      describedBy: NO_ARGS,
      execute: () => {
        app.shell.activateById(widget.id);
        void model.refresh();
      }
    });
    palette?.addItem({ command: CommandIDs.openPanel, category: trans.__('AI'), args: { isPalette: true } });
    launcher?.add({ command: CommandIDs.openPanel, category: trans.__('AI'), rank: 2 });
  }
};
