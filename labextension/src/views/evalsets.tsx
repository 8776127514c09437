import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReactElement } from 'react';

import { count } from '../figures';
import type { IPlatform } from '../tokens';
import type { IEvalRun } from '../wireShelves';
import { when } from './calls';
import { useAsked } from './parts';

interface IProps {
  readonly model: IPlatform;
  readonly trans: TranslationBundle;
}

function outcome(run: IEvalRun, trans: TranslationBundle): string {
  if (run.score !== null) {
    return run.score.toFixed(2);
  }
  return run.status ? trans.__('no score') : trans.__('under way');
}

/** Every evalset with the mean score of its last run. */
export function Evalsets({ model, trans }: IProps): ReactElement {
  const { value, problem } = useAsked(() => model.evalsets(), '');
  return (
    <>
      {problem && (
        <p className="aiplat-Problem" role="alert">
          {problem}
        </p>
      )}
      {!value && !problem && <p className="aiplat-note">{trans.__('Reading evalsets…')}</p>}
      <ul className="aiplat-list aiplat-Evalsets">
        {(value ?? []).map(({ name, samples, last }) => (
          <li key={name} className="aiplat-Evalset">
            <div className="aiplat-row">
              <span className="aiplat-Prompt-name">{name}</span>
              <span className="aiplat-figure">{last ? outcome(last, trans) : '–'}</span>
            </div>
            {last?.score !== null && last?.score !== undefined && last.score >= 0 && last.score <= 1 && (
              <div className="aiplat-Bar" aria-hidden="true">
                <span className="aiplat-Bar-spent" style={{ width: `${last.score * 100}%` }} />
              </div>
            )}
            <div className="aiplat-note">
              {[
                samples !== null && trans._n('%1 sample', '%1 samples', samples, count(samples)),
                last ? `${when(last.startedAt, new Date())} ${last.asked}`.trim() : trans.__('not run here yet'),
                last && last.errors > 0 && trans._n('%1 error', '%1 errors', last.errors),
                last?.costUsd && model.money(last.costUsd)
              ]
                .filter(Boolean)
                .join(' · ')}
            </div>
          </li>
        ))}
      </ul>
    </>
  );
}
