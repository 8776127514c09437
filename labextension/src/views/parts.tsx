import type { TranslationBundle } from '@jupyterlab/translation';
import { type ReactElement, type ReactNode, useEffect, useState } from 'react';

import type { CallStatus } from '../wire';

/** The word for how a call ended, in the reader's language. */
export function statusWord(status: CallStatus, trans: TranslationBundle): string {
  switch (status) {
    case 'ok':
      return trans.__('Answered');
    case 'error':
      return trans.__('Failed');
    case 'refused':
      return trans.__('Refused');
    case 'cancelled':
      return trans.__('Cancelled');
    default:
      return trans.__('Running');
  }
}

const MARKS: Readonly<Record<CallStatus, string>> = {
  ok: 'M3.5 8.5l3 3 6-7',
  error: 'M4 4l8 8M12 4l-8 8',
  refused: 'M3.8 3.8l8.4 8.4M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2z',
  cancelled: 'M4.5 4.5h7v7h-7z',
  running: 'M8 2.5a5.5 5.5 0 1 1-5.5 5.5'
};

/** How a call ended: a drawing for the eye and a word for the ear. */
export function StatusMark({ status, word }: { status: CallStatus; word: string }): ReactElement {
  return (
    <span className="aiplat-Mark" data-status={status} title={word}>
      <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
        <path d={MARKS[status]} fill="none" stroke="currentColor" strokeWidth="1.7" strokeLinecap="round" />
      </svg>
      <span className="aiplat-hidden">{word}</span>
    </span>
  );
}

/** A part of the panel under its own heading. */
export function Section(props: { title: string; aside?: ReactNode; children: ReactNode }): ReactElement {
  return (
    <section className="aiplat-Section">
      <header>
        <h3>{props.title}</h3>
        {props.aside !== undefined && <span className="aiplat-aside">{props.aside}</span>}
      </header>
      {props.children}
    </section>
  );
}

/** A part of the panel that is closed until somebody opens it, and reads nothing before. */
export function Fold(props: {
  id: string;
  title: string;
  aside?: ReactNode;
  open: boolean;
  toggle: (open: boolean) => void;
  children: () => ReactNode;
}): ReactElement {
  const { id, open } = props;
  return (
    <section className="aiplat-Section aiplat-Fold" data-fold={id} data-open={open}>
      <h3>
        <button
          type="button"
          className="aiplat-Fold-head"
          aria-expanded={open}
          aria-controls={`aiplat-fold-${id}`}
          onClick={() => props.toggle(!open)}
        >
          <svg viewBox="0 0 16 16" width="12" height="12" aria-hidden="true" className="aiplat-Fold-mark">
            <path d="M6 3.5l4.5 4.5L6 12.5" fill="none" stroke="currentColor" strokeWidth="1.6" strokeLinecap="round" />
          </svg>
          <span>{props.title}</span>
          {props.aside !== undefined && <span className="aiplat-aside">{props.aside}</span>}
        </button>
      </h3>
      <div id={`aiplat-fold-${id}`} hidden={!open}>
        {open && props.children()}
      </div>
    </section>
  );
}

export interface IAsked<T> {
  readonly value: T | null;
  readonly problem: string;
  readonly again: () => void;
}

/** What an asynchronous question gave, asked when first drawn and whenever `key` changes; the last one asked wins. */
export function useAsked<T>(ask: () => Promise<T>, key: unknown): IAsked<T> {
  const [found, setFound] = useState<{ value: T | null; problem: string }>({ value: null, problem: '' });
  const [turn, setTurn] = useState(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `key` stands for all that the question depends on
  useEffect(() => {
    let current = true;
    ask().then(
      value => current && setFound({ value, problem: '' }),
      (error: unknown) =>
        current && setFound(({ value }) => ({ value, problem: error instanceof Error ? error.message : String(error) }))
    );
    return () => {
      current = false;
    };
  }, [key, turn]);
  return { ...found, again: () => setTurn(turn + 1) };
}
