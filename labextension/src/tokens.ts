import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { ICall, ICallRow, IState } from './wire';
import type { IEvalset, IPlan, IPrompt, IPromptText } from './wireShelves';

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
  calls(notebook: string, limit: number, offset?: number): Promise<ICallRow[]>;

  /** One call with its messages and its answer. */
  call(callId: string): Promise<ICall>;

  /** Cancels a call under way; false where it has ended meanwhile. */
  cancel(callId: string): Promise<boolean>;

  /** Every prompt, saved or shipped. */
  prompts(): Promise<IPrompt[]>;

  /** One prompt with its text. */
  prompt(reference: string): Promise<IPromptText>;

  /** Saves a text as a version of a prompt; gives `name@version`. */
  savePrompt(body: Readonly<Record<string, unknown>>): Promise<string>;

  /** Every evalset with its last result. */
  evalsets(): Promise<IEvalset[]>;

  /** What would become of requests, one plan for each; nothing is sent. */
  plan(requests: readonly unknown[]): Promise<IPlan[]>;

  /** The models that a cell may name. */
  models(): Promise<string[]>;

  /** US dollars in the currency of display. */
  money(usd: string | null): string;
}

export interface IPreferences {
  readonly refreshSeconds: number;
  readonly showStatus: boolean;
  readonly lastCalls: number;
  /** Whether people are told once when a budget passes one of its thresholds. */
  readonly notifyBudgets: boolean;
  /** Whether `%%ai` cells have buttons of their own. */
  readonly cellButtons: boolean;
  /** Whether a cell's metadata says which call its answer came from. */
  readonly keepProvenance: boolean;
}

export const IPlatform = new Token<IPlatform>(
  'aiplat-lab:IPlatform',
  'The AI gateway as the front end sees it: state, spend, calls.'
);
