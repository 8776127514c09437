import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';

import type { IPlatform } from './tokens';
import type { ICallRow } from './wire';

/** The last calls of the notebook in front, kept current while somebody looks. */
export class NotebookCalls implements IDisposable {
  constructor(
    private readonly model: IPlatform,
    private readonly tracker: INotebookTracker | null,
    private readonly localPath: (path: string) => string
  ) {
    model.callsChanged.connect(this.reload, this);
    model.preferencesChanged.connect(this.reload, this);
    tracker?.currentChanged.connect(this.onCurrent, this);
    this.onCurrent();
  }

  /** The calls, newest first; null until they were read. */
  rows: readonly ICallRow[] | null = null;
  /** Why they could not be read, in one sentence. */
  problem = '';
  /** The notebook's path under the server's root, or null where none is open. */
  notebook: string | null = null;
  readonly changed = new Signal<this, void>(this);
  isDisposed = false;

  /** Says whether somebody looks; nothing is read for nobody. */
  watch(watched: boolean): void {
    this.watched = watched;
    this.reload();
  }

  dispose(): void {
    if (!this.isDisposed) {
      this.isDisposed = true;
      Signal.clearData(this);
    }
  }

  private onCurrent(): void {
    const panel = this.tracker?.currentWidget ?? null;
    if (panel !== this.panel) {
      this.panel?.context.pathChanged.disconnect(this.onPath, this);
      panel?.context.pathChanged.connect(this.onPath, this);
      this.panel = panel;
    }
    this.onPath();
  }

  private onPath(): void {
    const path = this.panel ? this.localPath(this.panel.context.path) : null;
    if (path !== this.notebook) {
      this.notebook = path;
      this.rows = null;
      this.problem = '';
      this.changed.emit();
    }
    this.reload();
  }

  private reload(): void {
    if (this.watched && !this.isDisposed) {
      void this.read();
    }
  }

  private async read(): Promise<void> {
    const asked = ++this.asked;
    const notebook = this.notebook;
    let rows: readonly ICallRow[] | null = null;
    let problem = '';
    if (this.model.state.gateway === 'running') {
      try {
        rows = await this.model.calls(notebook ?? '', this.model.preferences.lastCalls);
      } catch (error) {
        problem = error instanceof Error ? error.message : String(error);
      }
    }
    if (asked === this.asked && notebook === this.notebook && !this.isDisposed) {
      this.rows = rows ?? this.rows;
      this.problem = problem;
      this.changed.emit();
    }
  }

  private watched = false;
  private asked = 0;
  private panel: NotebookPanel | null = null;
}
