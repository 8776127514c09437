import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { InputDialog, IToolbarWidgetRegistry, Notification } from '@jupyterlab/apputils';
import { type Cell, CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { afresh, quoted, readCell, settingsOf, withOption } from '../aicell';
import { CommandIDs, NO_ARGS } from '../commands';
import { isAiCell } from '../language';
import { IPlatform } from '../tokens';

/** The buttons of an `%%ai` cell; a cell of another kind shows none. */
class Buttons extends Widget {
  constructor(
    private readonly cell: Cell,
    private readonly model: IPlatform,
    trans: TranslationBundle,
    run: (command: string) => void
  ) {
    super();
    this.addClass('aiplat-CellButtons');
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', trans.__('AI cell'));
    const all: readonly (readonly [string, string, string])[] = [
      [CommandIDs.planCell, trans.__('Plan'), trans.__('Show what this cell will cost; nothing is sent')],
      [CommandIDs.compareCell, trans.__('A/B'), trans.__('Ask a second model or prompt beside this one')],
      [CommandIDs.saveCell, trans.__('Save'), trans.__('Save this cell as a prompt')],
      [CommandIDs.freshCell, trans.__('Fresh'), trans.__('Run once with a new answer, even if one is known')]
    ];
    for (const [command, label, title] of all) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = label;
      button.title = title;
      button.dataset.command = command;
      button.addEventListener('click', () => run(command));
      this.node.append(button);
    }
    cell.model.contentChanged.connect(this.settle, this);
    model.preferencesChanged.connect(this.settle, this);
    this.settle();
  }

  dispose(): void {
    Signal.clearData(this);
    super.dispose();
  }

  private settle(): void {
    const source = this.cell.model?.sharedModel?.getSource() ?? '';
    this.setHidden(!this.model.preferences.cellButtons || !isAiCell(source));
  }
}

interface IActive {
  readonly panel: NotebookPanel;
  readonly cell: CodeCell;
  readonly source: string;
}

/** Runs a cell with another source once; its own source stands again as soon as the kernel has been asked. */
function runOnce({ panel, cell }: IActive, source: string): Promise<unknown> {
  const shared = cell.model.sharedModel;
  const own = shared.getSource();
  const write = (text: string) => shared.transact(() => shared.setSource(text), false);
  write(source);
  try {
    // The source is read before the first await.
    return CodeCell.execute(cell, panel.sessionContext, { recordTiming: panel.content.notebookConfig.recordTiming });
  } finally {
    write(own);
  }
}

class CellCommands {
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly tracker: INotebookTracker,
    private readonly model: IPlatform,
    private readonly trans: TranslationBundle
  ) {}

  active(): IActive | null {
    const panel = this.tracker.currentWidget;
    const cell = panel?.content.activeCell;
    const source = cell?.model.sharedModel.getSource() ?? '';
    return panel && cell instanceof CodeCell && isAiCell(source) ? { panel, cell, source } : null;
  }

  async plan({ cell }: IActive): Promise<void> {
    await this.app.commands.execute(CommandIDs.openPlan, { cellId: cell.model.id });
  }

  async compare({ cell, source }: IActive): Promise<void> {
    const { trans, model } = this;
    const [models, prompts] = await Promise.all([model.models(), model.prompts()]);
    const asked = readCell(source);
    const items = [...models.filter(name => name !== asked?.model), ...prompts.map(prompt => prompt.name)];
    const chosen = await InputDialog.getItem({
      title: trans.__('Compare with'),
      label: trans.__('A model or a saved prompt that answers beside this cell’s own'),
      items,
      okLabel: trans.__('Add')
    });
    if (chosen.button.accept && chosen.value && !cell.isDisposed) {
      cell.model.sharedModel.setSource(withOption(cell.model.sharedModel.getSource(), `--vs ${quoted(chosen.value)}`));
    }
  }

  async save({ source }: IActive): Promise<void> {
    const { trans, model } = this;
    const cell = readCell(source);
    if (!cell?.body.trim() || cell.prompt) {
      Notification.info(
        cell?.prompt
          ? trans.__('This cell asks the saved prompt %1 already.', cell.prompt)
          : trans.__('The cell has no text to save as a prompt.')
      );
      return;
    }
    const named = await InputDialog.getText({
      title: trans.__('Save as a prompt'),
      label: trans.__('Name, in small letters, digits and hyphens; each {variable} becomes a variable of the prompt'),
      placeholder: 'summarise-letter',
      pattern: '[a-z0-9][a-z0-9\\-]{0,62}',
      required: true,
      okLabel: trans.__('Save')
    });
    if (!named.button.accept || !named.value) {
      return;
    }
    const reference = await model.savePrompt({
      name: named.value,
      text: cell.body,
      system: cell.options.get('--system')?.at(-1) ?? '',
      model: cell.model,
      settings: settingsOf(cell)
    });
    Notification.success(trans.__('Saved as %1.', reference), { autoClose: 5000 });
  }

  async fresh(active: IActive): Promise<void> {
    await runOnce(active, afresh(active.source));
    await this.model.refresh();
  }

  /** A command on the active cell; what goes wrong is told in one sentence. */
  add(id: string, label: string, work: (active: IActive) => Promise<void>): void {
    this.app.commands.addCommand(id, {
      label,
      describedBy: NO_ARGS,
      isEnabled: () => this.active() !== null,
      execute: async () => {
        const active = this.active();
        if (!active) {
          return;
        }
        try {
          await work(active);
        } catch (error) {
          Notification.error(error instanceof Error ? error.message : String(error), { autoClose: 15_000 });
        }
      }
    });
  }
}

/** Plan, A/B, save and fresh on `%%ai` cells, as buttons and as commands. */
export const toolbar: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:toolbar',
  description: 'Buttons of %%ai cells: plan, A/B, save as a prompt, fresh answer.',
  autoStart: true,
  requires: [IPlatform, INotebookTracker],
  optional: [IToolbarWidgetRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    model: IPlatform,
    tracker: INotebookTracker,
    toolbars: IToolbarWidgetRegistry | null,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('aiplat_lab');
    const commands = new CellCommands(app, tracker, model, trans);
    commands.add(CommandIDs.planCell, trans.__('Plan This AI Cell'), active => commands.plan(active));
    commands.add(CommandIDs.compareCell, trans.__('Compare This AI Cell with Another Model'), active =>
      commands.compare(active)
    );
    commands.add(CommandIDs.saveCell, trans.__('Save This AI Cell as a Prompt'), active => commands.save(active));
    commands.add(CommandIDs.freshCell, trans.__('Run This AI Cell with a Fresh Answer'), active =>
      commands.fresh(active)
    );
    toolbars?.addFactory<Cell>(
      'Cell',
      'aiplat-cell',
      cell => new Buttons(cell, model, trans, command => void app.commands.execute(command))
    );
  }
};
