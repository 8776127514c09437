import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { IDisposable } from '@lumino/disposable';
import { Debouncer } from '@lumino/polling';
import { Signal } from '@lumino/signaling';

import type { ICellSource } from './plan';

const SETTLED_MS = 500;

/** The cells of a notebook as they stand in the front end, saved or not. */
export function cellsOf(panel: NotebookPanel | null): readonly ICellSource[] {
  const cells = panel?.content.model?.cells;
  return cells
    ? [...cells].map(cell => ({ id: cell.id, source: cell.type === 'code' ? cell.sharedModel.getSource() : '' }))
    : [];
}

/** Tells when the cells of the notebook in front have changed and nobody has typed for a moment. */
export class NotebookCells implements IDisposable {
  constructor(private readonly tracker: INotebookTracker | null) {
    this.settled = new Debouncer(() => this.changed.emit(), SETTLED_MS);
    tracker?.currentChanged.connect(this.onCurrent, this);
    this.onCurrent();
  }

  readonly changed = new Signal<this, void>(this);
  isDisposed = false;

  get cells(): readonly ICellSource[] {
    return cellsOf(this.tracker?.currentWidget ?? null);
  }

  dispose(): void {
    if (!this.isDisposed) {
      this.isDisposed = true;
      this.settled.dispose();
      Signal.clearData(this);
    }
  }

  private onCurrent(): void {
    const panel = this.tracker?.currentWidget ?? null;
    if (panel !== this.panel) {
      this.panel?.content.modelContentChanged.disconnect(this.onContent, this);
      panel?.content.modelContentChanged.connect(this.onContent, this);
      this.panel = panel;
    }
    this.onContent();
  }

  private onContent(): void {
    if (!this.isDisposed) {
      void this.settled.invoke();
    }
  }

  private readonly settled: Debouncer;
  private panel: NotebookPanel | null = null;
}
