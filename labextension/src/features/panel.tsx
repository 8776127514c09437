import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import type { ReactElement } from 'react';

import { CommandIDs, NO_ARGS, PLAN_ARGS } from '../commands';
import { callsIcon } from '../icons';
import { NotebookCalls } from '../notebookCalls';
import { NotebookCells } from '../notebookCells';
import { IPlatform } from '../tokens';
import { Calls } from '../views/calls';
import { Evalsets } from '../views/evalsets';
import { Fold } from '../views/parts';
import { PlanView } from '../views/plan';
import { Prompts } from '../views/prompts';
import { Budgets, GatewayState, Incidents, Spend } from '../views/spend';
import { Underway } from '../views/underway';

const FOLDS = 'aiplat-lab:open-folds';

function openFolds(): Set<string> {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(FOLDS) ?? '[]');
    return new Set(Array.isArray(kept) ? kept.filter(item => typeof item === 'string') : []);
  } catch {
    return new Set();
  }
}

interface IActions {
  readonly start: () => void;
  readonly open: (callId: string) => void;
  readonly dashboard: () => void;
  /** Null where there is no notebook to insert into. */
  readonly insert: () => ((source?: string) => void) | null;
  readonly reveal: (cellId: string) => void;
}

class Panel extends ReactWidget {
  constructor(
    private readonly model: IPlatform,
    private readonly calls: NotebookCalls,
    private readonly cells: NotebookCells,
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
    cells.changed.connect(this.onCells, this);
  }

  dispose(): void {
    Signal.clearData(this);
    this.calls.dispose();
    this.cells.dispose();
    super.dispose();
  }

  /** Opens the plan, and marks a cell in it. */
  showPlan(cellId: string): void {
    this.planned = cellId;
    this.toggle('plan', true);
    requestAnimationFrame(() => this.node.querySelector('[data-fold="plan"]')?.scrollIntoView({ block: 'nearest' }));
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
    const insert = actions.insert();
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
          {running && <Underway model={model} trans={trans} />}
          {running && this.folds()}
          {running && (
            <Calls
              model={model}
              trans={trans}
              open={actions.open}
              notebook={calls.notebook}
              calls={calls.rows}
              problem={calls.problem}
              insert={insert && (() => insert())}
              more={this.more}
              whole={calls.whole}
            />
          )}
        </div>
      </>
    );
  }

  private folds(): ReactElement {
    const { model, trans, calls, cells, actions } = this;
    const fold = (id: string, title: string, children: () => ReactElement) => (
      <Fold id={id} title={title} open={this.open.has(id)} toggle={open => this.toggle(id, open)}>
        {children}
      </Fold>
    );
    return (
      <>
        {calls.notebook !== null &&
          fold('plan', trans.__('Plan of this notebook'), () => (
            <PlanView model={model} trans={trans} cells={cells.cells} chosen={this.planned} reveal={actions.reveal} />
          ))}
        {fold('prompts', trans.__('Prompts'), () => (
          <Prompts model={model} trans={trans} insert={actions.insert()} />
        ))}
        {fold('evalsets', trans.__('Evalsets'), () => (
          <Evalsets model={model} trans={trans} />
        ))}
      </>
    );
  }

  private toggle(id: string, open: boolean): void {
    if (open) {
      this.open.add(id);
    } else {
      this.open.delete(id);
    }
    try {
      localStorage.setItem(FOLDS, JSON.stringify([...this.open]));
    } catch {
      // A browser that keeps nothing opens with all of them closed.
    }
    this.redraw();
  }

  private onCells(): void {
    if (this.isVisible && this.open.has('plan')) {
      this.redraw();
    }
  }

  private redraw(): void {
    this.drawn.emit();
  }

  private readonly more = () => this.calls.more();
  private readonly open = openFolds();
  private planned = '';
  private readonly drawn = new Signal<this, void>(this);
}

/** Brings a cell of the notebook in front into sight. */
function reveal(tracker: INotebookTracker | null, cellId: string): void {
  const notebook = tracker?.currentWidget?.content;
  const index = notebook?.widgets.findIndex(cell => cell.model.id === cellId) ?? -1;
  if (notebook && index >= 0) {
    notebook.activeCellIndex = index;
    void notebook.scrollToItem(index, 'smart');
    notebook.activate();
  }
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
    const cells = new NotebookCells(tracker);
    const widget = new Panel(model, calls, cells, trans, {
      start: () => void commands.execute(CommandIDs.startGateway),
      open: callId => void commands.execute(CommandIDs.openCall, { callId }),
      dashboard: () => void commands.execute(CommandIDs.openDashboard),
      insert: () =>
        commands.hasCommand(CommandIDs.insertCell) && commands.isEnabled(CommandIDs.insertCell)
          ? source => void commands.execute(CommandIDs.insertCell, source === undefined ? {} : { source })
          : null,
      reveal: cellId => reveal(tracker, cellId)
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
    commands.addCommand(CommandIDs.openPlan, {
      label: trans.__('Plan the AI Cells of This Notebook'),
      caption: trans.__('Show what the AI cells of this notebook will cost; nothing is sent'),
      icon: callsIcon,
      describedBy: PLAN_ARGS,
      execute: args => {
        app.shell.activateById(widget.id);
        widget.showPlan(typeof args.cellId === 'string' ? args.cellId : '');
      }
    });
    palette?.addItem({ command: CommandIDs.openPlan, category: trans.__('AI') });
    palette?.addItem({ command: CommandIDs.openPanel, category: trans.__('AI'), args: { isPalette: true } });
    launcher?.add({ command: CommandIDs.openPanel, category: trans.__('AI'), rank: 2 });
  }
};
