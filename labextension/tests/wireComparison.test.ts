import { describe, expect, it } from 'vitest';

import { WireError } from '../src/wire';
import { parseComparison } from '../src/wireComparison';

const RECORD = {
  schema: 1,
  experiment: '01936f0e-7b3a-7c1e-9d2f-0123456789ab',
  name: 'plain or polite',
  rater: 'ann',
  blind: true,
  currency: 'GBP',
  usd_rate: '0.79',
  verdict: { state: 'winner', sentence: 'polite is preferred.', winner: 'polite' },
  unstored_votes: 1,
  variants: [
    {
      name: 'plain',
      prompt: '',
      model: 'fast',
      settings: { temperature: 0, stop: ['x'] },
      votes: 2,
      mean_cost_usd: null
    },
    { name: 'polite', votes: 9, answered: 11, failed: 0, mean_cost_usd: '0.000031', median_latency_s: 0.5 }
  ],
  inputs: [
    {
      id: 'a',
      text: 'hello',
      state: 'judged',
      vote: { winner: 'polite', rater: 'ann', reason: 'kinder', stored: false },
      others: [{ rater: 'bob', winner: 'tie', reason: '' }],
      answers: [
        { variant: 'plain', status: 'ok', text: 'hi', cost_usd: '0.00001', cache: 'hit', finish_reason: 'length' }
      ],
      hidden: 0
    },
    { id: 'b', text: 'bye', state: 'answered', vote: null, answers: [], hidden: 2 }
  ]
};

describe('the record of an experiment', () => {
  it('keeps money as text, and unknown is never zero', () => {
    const found = parseComparison(RECORD);
    expect(found.sides.map(side => side.meanCostUsd)).toEqual([null, '0.000031']);
    expect(found.sides.map(side => side.medianLatencyS)).toEqual([null, 0.5]);
    expect(found.sides[0]?.settings).toBe('temperature 0, stop ["x"]');
    expect([found.currency, found.usdRate, found.unstoredVotes]).toEqual(['GBP', '0.79', 1]);
  });

  it('has the own vote first, and says which are not stored', () => {
    const [judged, open] = parseComparison(RECORD).inputs;
    expect(judged?.votes.map(vote => [vote.rater, vote.winner, vote.stored])).toEqual([
      ['ann', 'polite', false],
      ['bob', 'tie', true]
    ]);
    expect(judged?.answers[0]).toMatchObject({ cached: true, cut: true, costUsd: '0.00001' });
    expect(open).toMatchObject({ hidden: 2, votes: [], state: 'answered' });
  });

  it('of strange words is read with care, and of another shape is refused', () => {
    const strange = parseComparison({
      verdict: { state: 'sure' },
      inputs: [{ state: 'odd', answers: [{ status: 'dancing' }] }]
    });
    expect(strange.verdict.state).toBe('open');
    expect(strange.inputs[0]?.state).toBe('waiting');
    expect(strange.inputs[0]?.answers[0]?.status).toBe('error');
    expect(() => parseComparison([])).toThrow(WireError);
    expect(() => parseComparison({ inputs: ['x'] })).toThrow(WireError);
  });
});
