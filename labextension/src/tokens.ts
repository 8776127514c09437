import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { ICall, ICallRow, IState } from './wire';

/** The gateway as the front end sees it: its state, its figures, and the calls behind them. */
export interface IPlatform extends IDisposable {
  /** What was last read; never null, since "not read yet" is a state too. */
  readonly state: IState;

  /** Emits when `state` is another than before. */
  readonly changed: ISignal<IPlatform, IState>;

  /** Emits when a cell has run or the state was read: a list of calls may be out of date. */
  readonly callsChanged: ISignal<IPlatform, void>;

  /** How the user has set the extension. */
  readonly preferences: IPreferences;

  /** Emits when `preferences` changed. */
  readonly preferencesChanged: ISignal<IPlatform, IPreferences>;

  /** Reads the state now. */
  refresh(): Promise<void>;

  /** Starts the gateway; resolves once it answers or has failed, with the state saying which. */
  start(): Promise<void>;

  /** Stops the gateway. */
  stop(): Promise<void>;

  /** The last calls of a notebook, newest first. */
  calls(notebook: string, limit: number): Promise<ICallRow[]>;

  /** One call with its messages and its answer. */
  call(callId: string): Promise<ICall>;

  /** US dollars in the currency of display. */
  money(usd: string | null): string;
}

export interface IPreferences {
  readonly refreshSeconds: number;
  readonly showStatus: boolean;
  readonly lastCalls: number;
}

export const IPlatform = new Token<IPlatform>(
  'aiplat-lab:IPlatform',
  'The AI gateway as the front end sees it: state, spend, calls.'
);
