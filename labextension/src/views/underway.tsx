import type { TranslationBundle } from '@jupyterlab/translation';
import { type ReactElement, useState } from 'react';

import { shortId } from '../figures';
import type { IPlatform } from '../tokens';
import { when } from './calls';
import { Section, StatusMark } from './parts';

interface IProps {
  readonly model: IPlatform;
  readonly trans: TranslationBundle;
}

/** The calls that are being answered or wait for their turn, each with a button that cancels it. */
export function Underway({ model, trans }: IProps): ReactElement | null {
  const [cancelled, setCancelled] = useState<ReadonlySet<string>>(new Set());
  const [problem, setProblem] = useState('');
  const { underway } = model.state;
  if (!underway.length) {
    return null;
  }
  const cancel = async (callId: string) => {
    setCancelled(new Set([...cancelled, callId]));
    try {
      await model.cancel(callId);
      setProblem('');
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      setCancelled(old => new Set([...old].filter(id => id !== callId)));
    }
  };
  return (
    <Section title={trans.__('Under way')} aside={String(underway.length)}>
      {problem && (
        <p className="aiplat-Problem" role="alert">
          {problem}
        </p>
      )}
      <ul className="aiplat-list">
        {underway.map(call => (
          <li key={call.callId} className="aiplat-Underway" data-call={call.callId} data-waits={call.waits !== ''}>
            <StatusMark status="running" word={call.waits ? trans.__('Waiting') : trans.__('Running')} />
            <bdi className="aiplat-Call-model">{call.model}</bdi>
            <button
              type="button"
              className="aiplat-Button"
              disabled={cancelled.has(call.callId)}
              aria-label={trans.__('Cancel call %1 to %2', shortId(call.callId), call.model)}
              onClick={() => void cancel(call.callId)}
            >
              {cancelled.has(call.callId) ? trans.__('Cancelling…') : trans.__('Cancel')}
            </button>
            <span className="aiplat-Call-facts aiplat-note">
              {[when(call.startedAt, new Date()), call.surface, call.waits && trans.__('waits for %1', call.waits)]
                .filter(Boolean)
                .join(' · ')}
            </span>
          </li>
        ))}
      </ul>
    </Section>
  );
}
