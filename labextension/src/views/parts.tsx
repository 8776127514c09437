import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReactElement, ReactNode } from 'react';

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
