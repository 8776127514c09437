import { describe, expect, it } from 'vitest';

import { alertsOf } from '../src/alerts';
import { joins, merged } from '../src/callRows';
import { askedBy, plannedCells } from '../src/plan';
import { provenanceOf } from '../src/provenance';
import { matching } from '../src/views/prompts';
import { moved, windowOf } from '../src/views/windowed';
import { type IBudget, parseCalls, parseState } from '../src/wire';
import { type IPlan, parseEvalsets, parsePlans, parsePrompts } from '../src/wireShelves';

const BUDGET: IBudget = {
  scope: 'team',
  name: 'risk',
  period: 'month',
  limitUsd: '10',
  spentUsd: '0',
  heldUsd: '0',
  hard: true,
  forecastUsd: null,
  alertAt: [0.5, 0.8, 1],
  startsAt: '2026-11-01T00:00:00Z'
};

describe('the window of a list', () => {
  it.each([
    [0, 400, 46, 10_000, { first: 0, last: 17 }],
    [46_000, 400, 46, 10_000, { first: 992, last: 1017 }],
    [-300, 400, 46, 10_000, { first: 0, last: 11 }],
    [-2_000, 400, 46, 10_000, { first: 0, last: 8 }],
    [0, 400, 46, 3, { first: 0, last: 3 }],
    [0, 400, 46, 0, { first: 0, last: 0 }],
    [9e9, 400, 46, 5, { first: 4, last: 5 }]
  ])('%d above, %d high, rows of %d, %d of them', (above, height, row, count, window) =>
    expect(windowOf(above, height, row, count)).toEqual(window)
  );

  it('is walked by keys, and stays within', () => {
    expect(['ArrowDown', 'ArrowUp', 'Home', 'End', 'PageDown', 'a'].map(key => moved(key, 5, 12, 10))).toEqual([
      6,
      4,
      0,
      11,
      11,
      null
    ]);
    expect(moved('ArrowDown', 11, 12, 10)).toBe(11);
  });
});

describe('alerts of budgets', () => {
  it('are told once for each threshold, the highest alone', () => {
    const first = alertsOf([{ ...BUDGET, spentUsd: '8.5' }], []);
    expect(first.alerts.map(alert => alert.threshold)).toEqual([0.8]);
    expect(alertsOf([{ ...BUDGET, spentUsd: '9.9' }], first.told).alerts).toEqual([]);
    const last = alertsOf([{ ...BUDGET, spentUsd: '10' }], first.told);
    expect(last.alerts.map(alert => alert.threshold)).toEqual([1]);
  });

  it('are told again in the next period and for another limit', () => {
    const { told } = alertsOf([{ ...BUDGET, spentUsd: '6' }], []);
    expect(alertsOf([{ ...BUDGET, spentUsd: '6', startsAt: '2026-12-01T00:00:00Z' }], told).alerts).toHaveLength(1);
    expect(alertsOf([{ ...BUDGET, spentUsd: '6', limitUsd: '11' }], told).alerts).toHaveLength(1);
    expect(alertsOf([], told).told).toEqual([]);
  });
});

const LIVE: IPlan = { state: 'live', inputTokens: 5, outputTokens: 9, lowUsd: '0.1', highUsd: '0.25', said: '' };

describe('the plan of a notebook', () => {
  const cells = [
    { id: 'a', source: 'x = 1' },
    { id: 'b', source: '%%ai echo --vs other --repeat 2\nhello' },
    { id: 'c', source: '%%ai\n' },
    { id: 'd', source: '%%ai\nDear {name}' }
  ];

  it('asks for the cells that ask a model, and adds up their variants', () => {
    const asked = askedBy(cells);
    expect(asked.map(one => [one.id, one.number, one.requests.length])).toEqual([
      ['b', 2, 2],
      ['d', 4, 1]
    ]);
    const rows = plannedCells(asked, [
      LIVE,
      { ...LIVE, state: 'replay' },
      { ...LIVE, state: 'refused', said: 'no budget' }
    ]);
    expect(rows[0]).toMatchObject({ state: 'live', calls: 2, lowUsd: 0.2, highUsd: 0.5, estimate: false });
    expect(rows[1]).toMatchObject({ state: 'refused', calls: 0, highUsd: 0, said: 'no budget', estimate: true });
  });

  it('says unknown where one price is unknown', () => {
    const [row] = plannedCells(askedBy([{ id: 'a', source: '%%ai\nx' }]), [{ ...LIVE, highUsd: null }]);
    expect([row?.lowUsd, row?.highUsd]).toEqual([0.1, null]);
  });

  it('is parsed with the reason of a refusal', () => {
    const plans = parsePlans({
      plans: [
        { state: 'refused', policies: [{ policy: 'budget', verdict: 'refuses', said: 'used up' }] },
        { state: 'error', error: { message: 'no such model' } },
        { state: 'strange' }
      ]
    });
    expect(plans.map(plan => [plan.state, plan.said])).toEqual([
      ['refused', 'used up'],
      ['error', 'no such model'],
      ['error', '']
    ]);
    expect(() => parsePlans([])).toThrow('not an object');
  });
});

describe('what else the panel lists', () => {
  it('finds prompts by each word in name, label and description', () => {
    const prompts = parsePrompts({
      prompts: [
        { name: 'sum-up', version: '1.0.0', versions: 1, labels: { production: '1.0.0' } },
        { name: 'classify', shipped: true, description: 'Gives a text a label' }
      ]
    });
    expect(matching(prompts, 'Prod').map(one => one.name)).toEqual(['sum-up']);
    expect(matching(prompts, 'text gives').map(one => one.name)).toEqual(['classify']);
    expect(matching(prompts, ' ')).toHaveLength(2);
  });

  it('reads evalsets that were never run', () => {
    expect(parseEvalsets({ evalsets: [{ name: 'x', samples: 3, last: null }] })).toEqual([
      { name: 'x', samples: 3, last: null }
    ]);
  });

  it('reads calls under way, and the forecast', () => {
    const state = parseState({
      state: 'running',
      forecast_month_usd: '12.5',
      gateway: {
        calls_in_flight: [
          { call_id: '1', model: 'echo', queued: null },
          { call_id: '2', model: 'echo', queued: { limit: 'echo at upstream', position: 3 } }
        ]
      }
    });
    expect(state.underway.map(call => call.waits)).toEqual(['', 'echo at upstream · 3']);
    expect(state.forecastMonthUsd).toBe('12.5');
  });
});

describe('provenance', () => {
  it('keeps where an answer came from, and not its text', () => {
    const kept = provenanceOf({
      call_id: 'c',
      status: 'ok',
      text: 'secret',
      model: 'm',
      cost_usd: '0.1',
      cache: 'hit',
      region: ''
    });
    expect(kept).toEqual({ call_id: 'c', status: 'ok', model: 'm', cost_usd: '0.1', replayed: true });
  });

  it.each([[null], ['x'], [{}], [{ call_id: 'c', status: 'running' }]])('keeps nothing of %j', value =>
    expect(provenanceOf(value)).toBeNull()
  );
});

describe('the newest calls beside those that are known', () => {
  const rows = (ids: string) => parseCalls({ calls: [...ids].map(id => ({ call_id: id })) });

  it.each([
    ['xab', 'abc', true],
    ['ab', 'abc', true],
    ['xy', 'abc', false],
    ['axb', 'ab', false],
    ['abz', 'ab', false],
    ['ab', '', false]
  ])('%s joins %s: %j', (newest, known, is) => expect(joins(rows(newest), rows(known))).toBe(is));

  it('are listed once, and no more than asked for', () => {
    expect(merged(rows('xab'), rows('abc'), 10).map(row => row.callId)).toEqual(['x', 'a', 'b', 'c']);
    expect(merged(rows('xab'), rows('abc'), 2)).toHaveLength(2);
  });
});
