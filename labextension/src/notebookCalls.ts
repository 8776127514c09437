import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';

import { joins, merged } from './callRows';
import type { IPlatform } from './tokens';
import type { ICallRow } from './wire';

/** So many calls are read at once; older ones when somebody scrolls to them. */
const PAGE = 500;
/** So many are looked at to see whether there are new ones. */
const NEWEST = 25;

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
    if (watched && !this.watched) {
      this.complete = false; // older calls may have been imported while nobody looked
    }
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
      this.complete = false;
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

  /** Reads the next older calls, if there are any and none are being read. */
  more(): void {
    if (this.watched && !this.isDisposed && !this.whole && !this.reading && this.rows?.length) {
      void this.read(this.rows.length);
    }
  }

  /** Whether there are no older calls than those that were read. */
  get whole(): boolean {
    return this.complete || (this.rows?.length ?? 0) >= this.model.preferences.lastCalls;
  }

  private async read(offset = 0, most = this.sizeAt(offset)): Promise<void> {
    const asked = ++this.asked;
    const { notebook } = this;
    const cap = this.model.preferences.lastCalls;
    const limit = Math.min(most, cap - offset);
    this.reading = true;
    const { rows, problem } = await this.page(limit, offset);
    if (asked !== this.asked || notebook !== this.notebook || this.isDisposed) {
      return;
    }
    this.reading = false;
    if (rows) {
      const before = this.rows ?? [];
      const joined = joins(rows, before);
      if (!offset && !joined && limit === NEWEST && rows.length === limit) {
        return this.read(0, PAGE); // more calls were made than were looked for
      }
      this.complete = rows.length < limit || (offset === 0 && this.complete && joined);
      this.rows = offset ? merged(before, rows, cap) : joined ? merged(rows, before, cap) : rows;
    }
    this.problem = problem;
    this.changed.emit();
  }

  private sizeAt(offset: number): number {
    return offset || !this.rows ? PAGE : NEWEST;
  }

  private async page(limit: number, offset: number): Promise<{ rows: readonly ICallRow[] | null; problem: string }> {
    if (this.model.state.gateway !== 'running') {
      return { rows: null, problem: '' };
    }
    try {
      return { rows: await this.model.calls(this.notebook ?? '', limit, offset), problem: '' };
    } catch (error) {
      return { rows: null, problem: error instanceof Error ? error.message : String(error) };
    }
  }

  private watched = false;
  private reading = false;
  private complete = false;
  private asked = 0;
  private panel: NotebookPanel | null = null;
}
