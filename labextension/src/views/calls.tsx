import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReactElement } from 'react';

import { count, seconds } from '../figures';
import type { IPlatform } from '../tokens';
import type { ICallRow } from '../wire';
import { Section, StatusMark, statusWord } from './parts';
import { Windowed } from './windowed';

/** The height of a call's row in pixels, as the style says. */
const ROW = 46;

interface IProps {
  readonly model: IPlatform;
  readonly trans: TranslationBundle;
  readonly open: (callId: string) => void;
}

// Made once: a format costs more to make than to use a hundred times.
const TIME = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const DAY = new Intl.DateTimeFormat([], { day: 'numeric', month: 'short' });

/** A call's time of day when it was today, its date before. */
export function when(startedAt: string, now: Date): string {
  const at = new Date(startedAt);
  if (Number.isNaN(at.getTime())) {
    return '';
  }
  return at.toDateString() === now.toDateString() ? TIME.format(at) : DAY.format(at);
}

function CallItem({ call, model, trans, open, tabIndex }: IProps & { call: ICallRow; tabIndex: number }): ReactElement {
  const word = statusWord(call.status, trans);
  const reason = call.status === 'error' || call.status === 'refused' ? call.errorType : '';
  const tokens =
    call.inputTokens === null || call.outputTokens === null
      ? null
      : `${count(call.inputTokens)} → ${count(call.outputTokens)}`;
  const facts = [when(call.startedAt, new Date()), seconds(call.latencyS, ''), tokens];
  return (
    <button
      type="button"
      tabIndex={tabIndex}
      className="aiplat-Call"
      data-call={call.callId}
      title={trans.__('Started %1. Time, duration, tokens in → out. Click for the full record.', call.startedAt)}
      onClick={() => open(call.callId)}
    >
      <StatusMark status={call.status} word={reason ? `${word}: ${reason}` : word} />
      <bdi className="aiplat-Call-model">{call.model}</bdi>
      <span className="aiplat-figure">
        {call.costUsd === null && call.status !== 'ok' ? '–' : model.money(call.costUsd)}
      </span>
      <span className="aiplat-Call-facts aiplat-note">
        {reason && <span className="aiplat-Call-error">{reason}</span>}
        {facts.filter(Boolean).join(' · ')}
        {call.cache === 'hit' && <span className="aiplat-Tag">{trans.__('cached')}</span>}
      </span>
    </button>
  );
}

/** What to do when there is nothing to list yet. */
function Teach({ trans, insert }: { trans: TranslationBundle; insert: (() => void) | null }): ReactElement {
  return (
    <div className="aiplat-Teach">
      <p>{trans.__('No AI calls here yet. Write a cell that begins with %1, and run it:', '%%ai')}</p>
      <pre>
        <span className="aiplat-Teach-magic">%%ai</span>
        {`\n${trans.__('Explain in one sentence what a p-value is.')}`}
      </pre>
      <p className="aiplat-note">
        {trans.__('Each call is listed here with its cost, answered or not. Click one for the full record.')}
      </p>
      {insert && (
        <button type="button" className="aiplat-Button" onClick={insert}>
          {trans.__('Insert this cell')}
        </button>
      )}
    </div>
  );
}

/** The last calls of one notebook. */
export function Calls(
  props: IProps & {
    notebook: string | null;
    calls: readonly ICallRow[] | null;
    problem: string;
    insert: (() => void) | null;
    more: () => void;
    whole: boolean;
  }
): ReactElement {
  const { trans, notebook, calls, problem, insert, more, whole } = props;
  const name = notebook?.split('/').pop();
  return (
    <Section
      title={notebook ? trans.__('This notebook') : trans.__('Last calls')}
      aside={
        calls?.length
          ? whole
            ? trans._n('%1 call', '%1 calls', calls.length, count(calls.length))
            : trans.__('last %1 calls', count(calls.length))
          : undefined
      }
    >
      {name && (
        <p className="aiplat-note aiplat-Calls-name" title={notebook ?? ''}>
          {name}
        </p>
      )}
      {problem && <p className="aiplat-Problem">{problem}</p>}
      {calls?.length === 0 && <Teach trans={trans} insert={insert} />}
      {calls && calls.length > 0 && (
        <Windowed
          items={calls}
          row={ROW}
          label={trans.__('Calls, newest first')}
          keyOf={call => call.callId}
          draw={(call, tabIndex) => <CallItem {...props} call={call} tabIndex={tabIndex} />}
          more={more}
        />
      )}
    </Section>
  );
}
