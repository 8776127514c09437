import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReactElement } from 'react';

import { count, share } from '../figures';
import type { IPlatform } from '../tokens';
import type { IBudget } from '../wire';
import { Section } from './parts';

interface IProps {
  readonly model: IPlatform;
  readonly trans: TranslationBundle;
}

/** Whether the gateway runs, and the one button that changes it. */
export function GatewayState({ model, trans, start }: IProps & { start: () => void }): ReactElement {
  const { gateway, message, demo, version, home, remote, inFlight } = model.state;
  const words: Readonly<Record<typeof gateway, string>> = {
    unread: trans.__('Looking for the gateway…'),
    running: remote ? trans.__('Shared gateway') : trans.__('Gateway running'),
    starting: trans.__('Gateway starting…'),
    stopped: trans.__('Gateway stopped'),
    error: trans.__('Gateway out of reach')
  };
  return (
    <div className="aiplat-Gateway" data-state={gateway}>
      <div className="aiplat-Gateway-line" role="status" title={version && `aiplat-lab ${version} · ${home}`}>
        <span className="aiplat-Dot" data-state={gateway} aria-hidden="true" />
        <span className="aiplat-Gateway-word">{words[gateway]}</span>
        {demo && <span className="aiplat-Tag">{trans.__('Demo data')}</span>}
        {inFlight > 0 && <span className="aiplat-aside">{trans._n('%1 call now', '%1 calls now', inFlight)}</span>}
      </div>
      {(gateway === 'stopped' || gateway === 'error') && !remote && (
        <button type="button" className="aiplat-Button" data-primary="true" onClick={start}>
          {trans.__('Start gateway')}
        </button>
      )}
      {message && <p className="aiplat-Gateway-why">{message}</p>}
    </div>
  );
}

/** Spend today and this month. */
export function Spend({ model, trans }: IProps): ReactElement {
  const { spendTodayUsd, spendMonthUsd, forecastMonthUsd, callsToday } = model.state;
  return (
    <dl className="aiplat-Spend">
      <div>
        <dt>{trans.__('Today')}</dt>
        <dd>{model.money(spendTodayUsd)}</dd>
        <dd className="aiplat-note">
          {callsToday === null ? '' : trans._n('%1 call', '%1 calls', callsToday, count(callsToday))}
        </dd>
      </div>
      <div>
        <dt>{trans.__('This month')}</dt>
        <dd>{model.money(spendMonthUsd)}</dd>
        {forecastMonthUsd !== null && (
          <dd className="aiplat-note" title={trans.__('What the month will have cost at its end at the present pace')}>
            {trans.__('%1 at this pace', model.money(forecastMonthUsd))}
          </dd>
        )}
      </div>
    </dl>
  );
}

function level(part: number): 'calm' | 'near' | 'over' {
  return part >= 1 ? 'over' : part >= 0.8 ? 'near' : 'calm';
}

function periodWord(period: string, trans: TranslationBundle): string {
  switch (period) {
    case 'day':
      return trans.__('a day');
    case 'week':
      return trans.__('a week');
    case 'month':
      return trans.__('a month');
    default:
      return trans.__('in total');
  }
}

function Budget({ budget, model, trans }: IProps & { budget: IBudget }): ReactElement {
  const part = share(budget.spentUsd, budget.limitUsd);
  const held = share(budget.heldUsd, budget.limitUsd);
  const percent = Math.floor(part * 100);
  const who = budget.scope === 'everyone' ? trans.__('Everyone') : `${budget.scope} ${budget.name}`;
  const amounts = trans.__('%1 of %2', model.money(budget.spentUsd), model.money(budget.limitUsd));
  return (
    <li className="aiplat-Budget" data-level={level(part)}>
      <div className="aiplat-row">
        <span className="aiplat-Budget-who">{who}</span>
        <span className="aiplat-figure">{amounts}</span>
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: the native element cannot show what is held beside what is spent */}
      <div
        className="aiplat-Bar"
        role="meter"
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.min(percent, 100)}
        aria-valuetext={trans.__('%1, %2 percent', amounts, percent)}
        aria-label={trans.__('Spend of %1, %2', who, periodWord(budget.period, trans))}
      >
        <span className="aiplat-Bar-spent" style={{ width: `${Math.min(part, 1) * 100}%` }} />
        <span className="aiplat-Bar-held" style={{ width: `${Math.min(held, Math.max(0, 1 - part)) * 100}%` }} />
      </div>
      <div className="aiplat-row aiplat-note">
        <span>
          {budget.hard
            ? trans.__('%1, stops at the limit', periodWord(budget.period, trans))
            : trans.__('%1, warns only', periodWord(budget.period, trans))}
        </span>
        {budget.forecastUsd !== null && part < 1 && share(budget.forecastUsd, budget.limitUsd) > 1 && (
          <span className="aiplat-Budget-forecast">{trans.__('%1 at this pace', model.money(budget.forecastUsd))}</span>
        )}
        <span className="aiplat-Budget-percent">{part >= 1 ? trans.__('used up') : trans.__('%1% used', percent)}</span>
      </div>
    </li>
  );
}

/** Spend against each budget, the fullest first. */
export function Budgets({ model, trans }: IProps): ReactElement | null {
  const budgets = [...model.state.budgets].sort(
    (one, two) => share(two.spentUsd, two.limitUsd) - share(one.spentUsd, one.limitUsd)
  );
  if (!budgets.length) {
    return null;
  }
  return (
    <Section title={trans.__('Budgets')}>
      <ul className="aiplat-list">
        {budgets.map(budget => (
          <Budget key={`${budget.scope}/${budget.name}/${budget.period}`} budget={budget} model={model} trans={trans} />
        ))}
      </ul>
    </Section>
  );
}

/** What is wrong now, in the gateway's own sentences. */
export function Incidents({ model, trans }: IProps): ReactElement | null {
  if (!model.state.incidents.length) {
    return null;
  }
  return (
    <Section title={trans.__('Incidents')} aside={String(model.state.incidents.length)}>
      <ul className="aiplat-list">
        {model.state.incidents.map(incident => (
          <li key={incident} className="aiplat-Incident">
            {incident}
          </li>
        ))}
      </ul>
    </Section>
  );
}
