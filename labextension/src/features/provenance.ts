import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { type Cell, CodeCell } from '@jupyterlab/cells';
import { NotebookActions } from '@jupyterlab/notebook';

import { isAiCell } from '../language';
import { type IProvenance, provenanceOf } from '../provenance';
import { IPlatform } from '../tokens';
import { CALL_MIME } from './output';

const KEY = 'aiplat';

/** The call that a cell's outputs came from; the last where there are several. */
function found(cell: CodeCell): IProvenance | null {
  const { outputs } = cell.model;
  for (let at = outputs.length - 1; at >= 0; at -= 1) {
    const kept = provenanceOf(outputs.get(at).data[CALL_MIME]);
    if (kept) {
      return kept;
    }
  }
  return null;
}

function mirror(cell: Cell): void {
  if (!(cell instanceof CodeCell) || cell.isDisposed) {
    return;
  }
  const kept = isAiCell(cell.model.sharedModel.getSource()) ? found(cell) : null;
  const before = cell.model.getMetadata(KEY);
  if (kept && JSON.stringify(before) !== JSON.stringify(kept)) {
    cell.model.setMetadata(KEY, kept);
  } else if (!kept && before !== undefined) {
    cell.model.deleteMetadata(KEY);
  }
}

/** Writes into a cell's metadata which call its answer came from: a kernel cannot write there. */
export const provenance: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:provenance',
  description: 'Keeps in the metadata of %%ai cells which call their answer came from.',
  autoStart: true,
  requires: [IPlatform],
  activate: (_app: JupyterFrontEnd, model: IPlatform): void => {
    NotebookActions.executed.connect((_, { cell }) => {
      if (model.preferences.keepProvenance) {
        mirror(cell);
      }
    });
  }
};
