import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { NotebookActions } from '@jupyterlab/notebook';
import type { ServerConnection } from '@jupyterlab/services';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Debouncer, Poll } from '@lumino/polling';
import { Signal } from '@lumino/signaling';

import { money } from './figures';
import { relay } from './request';
import { IPlatform, type IPreferences } from './tokens';
import {
  fields,
  type ICall,
  type ICallRow,
  type IState,
  parseCall,
  parseCalls,
  parseState,
  text,
  UNREAD
} from './wire';
import {
  type IEvalset,
  type IPlan,
  type IPrompt,
  type IPromptText,
  parseEvalsets,
  parseModels,
  parsePlans,
  parsePrompt,
  parsePrompts
} from './wireShelves';

const SETTINGS = 'aiplat-lab:plugin';
const DEFAULTS: IPreferences = {
  refreshSeconds: 15,
  showStatus: true,
  lastCalls: 1000,
  notifyBudgets: true,
  cellButtons: true,
  keepProvenance: true
};
const AFTER_CELL_MS = 250;
const STARTING_MS = 700;
const UNDERWAY_MS = 2000;
const BACKOFF_MAX_MS = 300_000;

/** Reads the relay: now and then, after each cell that has run, and never while the page is hidden. */
class Platform implements IPlatform {
  constructor(private readonly server: ServerConnection.ISettings) {
    this.poll = new Poll({
      auto: true,
      name: 'aiplat-lab:state',
      factory: () => this.read(),
      frequency: { interval: DEFAULTS.refreshSeconds * 1000, backoff: true, max: BACKOFF_MAX_MS },
      standby: 'when-hidden'
    });
    this.afterCell = new Debouncer(() => this.refresh(), AFTER_CELL_MS);
    NotebookActions.executed.connect(this.onExecuted, this);
    NotebookActions.executionScheduled.connect(this.onExecuted, this);
  }

  state: IState = UNREAD;
  preferences: IPreferences = DEFAULTS;
  readonly changed = new Signal<this, IState>(this);
  readonly callsChanged = new Signal<this, void>(this);
  readonly preferencesChanged = new Signal<this, IPreferences>(this);
  isDisposed = false;

  async refresh(): Promise<void> {
    await this.poll.refresh();
    await this.poll.tick;
  }

  async start(): Promise<void> {
    this.set({ ...this.state, gateway: 'starting', message: '' });
    await this.change('start');
  }

  async stop(): Promise<void> {
    await this.change('stop');
  }

  async calls(notebook: string, limit: number, offset = 0): Promise<ICallRow[]> {
    const query = { notebook, limit: String(limit), offset: String(offset) };
    return parseCalls(await relay(this.server, 'calls', { query }));
  }

  async call(callId: string): Promise<ICall> {
    return parseCall(await relay(this.server, `calls/${encodeURIComponent(callId)}`));
  }

  async cancel(callId: string): Promise<boolean> {
    const said = await relay(this.server, `calls/${encodeURIComponent(callId)}/cancel`, { method: 'POST' });
    void this.refresh();
    return fields(said, 'the answer').cancelled === true;
  }

  async prompts(): Promise<IPrompt[]> {
    return parsePrompts(await relay(this.server, 'prompts'));
  }

  async prompt(reference: string): Promise<IPromptText> {
    return parsePrompt(await relay(this.server, `prompts/${encodeURIComponent(reference)}`));
  }

  async savePrompt(body: Readonly<Record<string, unknown>>): Promise<string> {
    const saved = fields(await relay(this.server, 'prompts', { method: 'POST', body }), 'the saved prompt');
    return `${text(saved, 'name')}@${text(saved, 'version')}`;
  }

  async evalsets(): Promise<IEvalset[]> {
    return parseEvalsets(await relay(this.server, 'evalsets'));
  }

  async plan(requests: readonly unknown[]): Promise<IPlan[]> {
    return parsePlans(await relay(this.server, 'plan', { method: 'POST', body: { requests } }));
  }

  async models(): Promise<string[]> {
    return parseModels(await relay(this.server, 'models'));
  }

  money(usd: string | null): string {
    return money(usd, this.state.currency, this.state.usdRate);
  }

  prefer(preferences: IPreferences): void {
    this.preferences = preferences;
    this.poll.frequency = { ...this.poll.frequency, interval: preferences.refreshSeconds * 1000 };
    this.preferencesChanged.emit(preferences);
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this.isDisposed = true;
    NotebookActions.executed.disconnect(this.onExecuted, this);
    NotebookActions.executionScheduled.disconnect(this.onExecuted, this);
    clearTimeout(this.soon);
    this.afterCell.dispose();
    this.poll.dispose();
    Signal.clearData(this);
  }

  private async change(verb: 'start' | 'stop'): Promise<void> {
    try {
      this.set(parseState(await relay(this.server, verb, { method: 'POST' })));
    } catch (error) {
      this.set({ ...UNREAD, gateway: 'error', message: sentence(error) });
    }
    this.callsChanged.emit();
  }

  private async read(): Promise<void> {
    try {
      this.set(parseState(await relay(this.server, 'status')));
    } catch (error) {
      this.set({ ...UNREAD, gateway: 'error', message: sentence(error) });
      throw error; // the poll then waits longer
    }
    this.callsChanged.emit();
    const wait = this.state.gateway === 'starting' ? STARTING_MS : this.state.inFlight > 0 ? UNDERWAY_MS : 0;
    if (wait && !document.hidden) {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => !this.isDisposed && void this.poll.refresh(), wait);
    }
  }

  private set(state: IState): void {
    const same = JSON.stringify(state) === JSON.stringify(this.state);
    this.state = state;
    if (!same) {
      this.changed.emit(state);
    }
  }

  private onExecuted(): void {
    void this.afterCell.invoke();
  }

  private soon: ReturnType<typeof setTimeout> | undefined;
  private readonly poll: Poll;
  private readonly afterCell: Debouncer;
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function read(settings: ISettingRegistry.ISettings): IPreferences {
  const { refreshSeconds, showStatus, lastCalls, notifyBudgets, cellButtons, keepProvenance } = settings.composite;
  return {
    refreshSeconds: typeof refreshSeconds === 'number' ? refreshSeconds : DEFAULTS.refreshSeconds,
    showStatus: typeof showStatus === 'boolean' ? showStatus : DEFAULTS.showStatus,
    lastCalls: typeof lastCalls === 'number' ? lastCalls : DEFAULTS.lastCalls,
    notifyBudgets: notifyBudgets !== false,
    cellButtons: cellButtons !== false,
    keepProvenance: keepProvenance !== false
  };
}

export const platform: JupyterFrontEndPlugin<IPlatform> = {
  id: SETTINGS,
  description: 'The state and the figures of the AI gateway, for the other plugins.',
  autoStart: true,
  provides: IPlatform,
  optional: [ISettingRegistry],
  activate: (app: JupyterFrontEnd, settings: ISettingRegistry | null): IPlatform => {
    const model = new Platform(app.serviceManager.serverSettings);
    if (settings) {
      settings.load(SETTINGS).then(
        loaded => {
          model.prefer(read(loaded));
          loaded.changed.connect(changed => model.prefer(read(changed)));
        },
        (reason: unknown) => console.error(`The settings of ${SETTINGS} cannot be read.`, reason)
      );
    }
    return model;
  }
};
