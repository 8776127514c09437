import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { INotebookTracker, NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs, INSERT_ARGS, NOTEBOOK_ARGS } from '../commands';
import { callsIcon } from '../icons';

const LOAD = '%load_ext aiplat_lab';

/** Whether a cell of the notebook loads our magic already. */
function loads(panel: NotebookPanel): boolean {
  return panel.content.widgets.some(cell => cell.model.sharedModel.getSource().includes(LOAD));
}

/** Writes a source into a new code cell under the active one, or into the active one when it is empty. */
function write(panel: NotebookPanel, source: string): void {
  const notebook = panel.content;
  if (notebook.activeCell?.model.type !== 'code' || notebook.activeCell.model.sharedModel.getSource().trim()) {
    NotebookActions.insertBelow(notebook);
    NotebookActions.changeCellType(notebook, 'code');
  }
  notebook.activeCell?.model.sharedModel.setSource(source);
}

/** A notebook that begins with an AI cell, and such a cell in the notebook in front. */
export const newNotebook: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:notebook',
  description: 'Creates notebooks and cells that ask a model.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [IDefaultFileBrowser, ITranslator, ICommandPalette, ILauncher],
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    browser: IDefaultFileBrowser | null,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('aiplat_lab');
    const example = () => `%%ai\n${trans.__('Explain in one sentence what a p-value is.')}`;

    const fill = (panel: NotebookPanel, source = example()) => {
      if (!loads(panel)) {
        write(panel, LOAD);
      }
      write(panel, source);
    };

    app.commands.addCommand(CommandIDs.insertCell, {
      label: trans.__('Insert an AI Cell'),
      describedBy: INSERT_ARGS,
      isEnabled: () => tracker.currentWidget !== null,
      execute: args => {
        const panel = tracker.currentWidget;
        if (panel) {
          fill(panel, typeof args.source === 'string' ? args.source : undefined);
          app.shell.activateById(panel.id);
        }
      }
    });
    tracker.currentChanged.connect(() => app.commands.notifyCommandChanged(CommandIDs.insertCell));

    app.commands.addCommand(CommandIDs.newNotebook, {
      label: args => (args.isPalette ? trans.__('New AI Notebook') : trans.__('AI notebook')),
      caption: trans.__('Create a notebook whose cells ask a model with %1', '%%ai'),
      icon: callsIcon,
      describedBy: NOTEBOOK_ARGS,
      execute: async args => {
        const cwd = typeof args.cwd === 'string' ? args.cwd : (browser?.model.path ?? '');
        const kernelName = app.serviceManager.kernelspecs.specs?.default;
        const panel: NotebookPanel | undefined = await app.commands.execute('notebook:create-new', {
          cwd,
          ...(kernelName ? { kernelName } : {})
        });
        if (panel) {
          await panel.context.ready;
          await panel.revealed;
          fill(panel);
        }
        return panel;
      }
    });
    palette?.addItem({ command: CommandIDs.insertCell, category: trans.__('AI') });
    palette?.addItem({ command: CommandIDs.newNotebook, category: trans.__('AI'), args: { isPalette: true } });
    launcher?.add({ command: CommandIDs.newNotebook, category: trans.__('AI'), rank: 1 });
  }
};
