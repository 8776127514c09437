import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';

const TRIES = 5;
const ABORTED = 'aborted' as string;

/** The code that tells a Python kernel under which path its notebook lies now; it shows nothing and is not counted as a cell. */
export function moved(path: string): string {
  return `__aiplat_notebook__ = ${JSON.stringify(path)}`;
}

/**
 * Tells a kernel when its notebook is renamed.
 *
 * A kernel learns its notebook's name once, when it starts. Without this, calls after a renaming stand in the ledger under
 * the old name, and the list of a notebook's calls would be empty.
 */
export const rename: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:rename',
  description: 'Tells a kernel when its notebook is renamed.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_: JupyterFrontEnd, tracker: INotebookTracker): void => {
    const tell = async (panel: NotebookPanel): Promise<void> => {
      const kernel = panel.sessionContext.session?.kernel;
      if (!kernel || !isPython(panel)) {
        return;
      }
      const request = { code: moved(panel.context.localPath), silent: true, store_history: false, allow_stdin: false };
      for (let left = TRIES; left > 0; left--) {
        const reply = await kernel.requestExecute(request).done;
        if (reply.content.status !== ABORTED) {
          return; // a cell that fails drops whatever waits behind it, this too
        }
      }
    };
    const gone = () => undefined; // a kernel that has ended learns the name when it starts again
    tracker.widgetAdded.connect((_, panel) => {
      let renamed = false;
      panel.context.pathChanged.connect(() => {
        renamed = true;
        tell(panel).catch(gone);
      });
      panel.sessionContext.statusChanged.connect((_, status) => {
        if (status === 'restarting' && renamed) {
          void panel.sessionContext.session?.kernel?.info.then(() => tell(panel)).catch(gone);
        }
      });
    });
  }
};

function isPython(panel: NotebookPanel): boolean {
  return panel.context.model.defaultKernelLanguage.toLowerCase().includes('python');
}
