import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReactElement } from 'react';

import { askedBy, type ICellSource, type IPlannedCell, plannedCells } from '../plan';
import type { IPlatform } from '../tokens';
import type { PlanState } from '../wireShelves';
import { useAsked } from './parts';

interface IProps {
  readonly model: IPlatform;
  readonly trans: TranslationBundle;
  readonly cells: readonly ICellSource[];
  /** The cell whose plan was asked for from its own button. */
  readonly chosen: string;
  readonly reveal: (cellId: string) => void;
}

function stateWord(state: PlanState, trans: TranslationBundle): string {
  switch (state) {
    case 'replay':
      return trans.__('known');
    case 'live':
      return trans.__('asks');
    case 'refused':
      return trans.__('refused');
    default:
      return trans.__('wrong');
  }
}

/** An amount in US dollars as digits, for money that was added up. */
function digits(amount: number): string {
  return amount.toFixed(9);
}

function range(low: number | null, high: number | null, model: IPlatform, trans: TranslationBundle): string {
  if (low === null || high === null) {
    return trans.__('price unknown');
  }
  const [from, to] = [model.money(digits(low)), model.money(digits(high))];
  return from === to ? to : trans.__('%1 to %2', from, to);
}

function PlannedCell({ row, ...props }: IProps & { row: IPlannedCell }): ReactElement {
  const { model, trans, chosen, reveal } = props;
  const price =
    row.state === 'live'
      ? range(row.lowUsd, row.highUsd, model, trans)
      : row.state === 'replay'
        ? model.money('0')
        : '–';
  return (
    <li className="aiplat-Planned" data-state={row.state} data-chosen={chosen === row.id}>
      <button
        type="button"
        aria-current={chosen === row.id ? 'true' : undefined}
        title={trans.__('Show cell %1', row.number)}
        onClick={() => reveal(row.id)}
      >
        <span className="aiplat-Planned-number">{row.number}</span>
        <bdi className="aiplat-Planned-title">{row.title}</bdi>
        <span className="aiplat-Tag" data-state={row.state}>
          {stateWord(row.state, trans)}
        </span>
        <span className="aiplat-Call-facts aiplat-note">
          {[
            row.model || trans.__('default model'),
            row.calls > 1 && trans.__('%1 calls', row.calls),
            price,
            row.estimate && trans.__('estimate')
          ]
            .filter(Boolean)
            .join(' · ')}
        </span>
        {row.said && <span className="aiplat-Planned-said">{row.said}</span>}
      </button>
    </li>
  );
}

/** What the notebook's AI cells will cost on the next Run All. */
export function PlanView(props: IProps): ReactElement {
  const { model, trans, cells } = props;
  const asked = askedBy(cells);
  const requests = asked.flatMap(one => one.requests);
  const { value, problem, again } = useAsked(
    () => (requests.length ? model.plan(requests) : Promise.resolve([])),
    JSON.stringify(requests)
  );
  if (!asked.length) {
    return <p className="aiplat-note">{trans.__('No cell of this notebook begins with %1.', '%%ai')}</p>;
  }
  const fits = value !== null && value.length === requests.length;
  const rows = fits ? plannedCells(asked, value) : [];
  const live = rows.filter(row => row.state === 'live');
  const known = rows.filter(row => row.state === 'replay').length;
  const stopped = rows.length - live.length - known;
  const total = (pick: (row: IPlannedCell) => number | null) =>
    live.some(row => pick(row) === null) ? null : live.reduce((sum, row) => sum + (pick(row) ?? 0), 0);
  return (
    <>
      {problem && (
        <p className="aiplat-Problem" role="alert">
          {trans.__('The plan is not available: %1', problem)}
        </p>
      )}
      {rows.length > 0 && (
        <p className="aiplat-Plan-total" role="status">
          <strong>
            {range(
              total(row => row.lowUsd),
              total(row => row.highUsd),
              model,
              trans
            )}
          </strong>{' '}
          {trans._n('for %1 cell that asks', 'for %1 cells that ask', live.length)}
          {known > 0 && <> · {trans._n('%1 known already', '%1 known already', known)}</>}
          {stopped > 0 && <> · {trans._n('%1 will stop', '%1 will stop', stopped)}</>}
        </p>
      )}
      <ol className="aiplat-list aiplat-Plan">
        {rows.map(row => (
          <PlannedCell key={row.id} {...props} row={row} />
        ))}
      </ol>
      {rows.some(row => row.estimate) && (
        <p className="aiplat-note">
          {trans.__('An estimate counts variables as they are written. %1 in a cell counts their values.', '%ai plan')}
        </p>
      )}
      <button type="button" className="aiplat-Button" onClick={again}>
        {trans.__('Plan again')}
      </button>
    </>
  );
}
