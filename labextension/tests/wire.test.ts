import { describe, expect, it } from 'vitest';

import { isCallId, parseAnswer, parseCall, parseCalls, parseError, parseState, WireError } from '../src/wire';

const ID = '01936f0e-7b3a-7c1e-9d2f-0123456789ab';

describe('the state', () => {
  it('of a running gateway keeps money as text', () => {
    const state = parseState({
      state: 'running',
      message: '',
      remote: false,
      spend_month_usd: '12.5',
      gateway: {
        version: '0.1.0',
        spend_today_usd: '0.0031',
        calls_today: 4,
        currency: 'GBP',
        usd_rate: '0.79',
        in_flight: 2,
        budgets: [
          {
            scope: 'team',
            name: 'risk',
            period: 'month',
            limit_usd: '250',
            spent_usd: '12.5',
            held_usd: '0',
            hard: true
          }
        ],
        incidents: ['one', 7]
      }
    });
    expect(state).toMatchObject({ gateway: 'running', spendTodayUsd: '0.0031', spendMonthUsd: '12.5', inFlight: 2 });
    expect(state.budgets[0]).toMatchObject({ scope: 'team', limitUsd: '250', hard: true });
    expect(state.incidents).toEqual(['one']);
  });

  it('of a stopped gateway has no figures, and unknown is never zero', () => {
    const state = parseState({ state: 'stopped', message: 'stopped', gateway: null });
    expect([state.gateway, state.spendTodayUsd, state.callsToday]).toEqual(['stopped', null, null]);
  });

  it('of an unknown word is an error', () => {
    expect(parseState({ state: 'dancing' }).gateway).toBe('error');
    expect(() => parseState('running')).toThrow(WireError);
  });
});

describe('calls', () => {
  it('without a cost stay without a cost', () => {
    const [call] = parseCalls({ calls: [{ call_id: ID, status: 'ok', cost_usd: null, input_tokens: 3 }] });
    expect(call).toMatchObject({ callId: ID, costUsd: null, inputTokens: 3, outputTokens: null });
  });

  it('show parts of messages, sums of tokens, and every column', () => {
    const call = parseCall({
      call_id: ID,
      status: 'ok',
      request_hash: 'h',
      input_tokens: 3,
      cache_read_tokens: 4,
      output_tokens: 5,
      tags: { run: '7' },
      messages: [{ role: 'user', content: [{ type: 'text', text: 'look' }, { type: 'image_url' }] }],
      settings: { temperature: 0 },
      text: 'a cat'
    });
    expect(call.messages).toEqual([{ role: 'user', content: 'look\n[image_url]' }]);
    expect([call.row.inputTokens, call.row.outputTokens]).toEqual([7, 5]);
    expect(call.columns.get('tags')).toBe('run=7');
    expect(call.columns.has('text')).toBe(false);
    expect(call.erased).toBe(false);
  });

  it('whose payloads are gone say so', () => {
    expect(parseCall({ call_id: ID, request_hash: 'h', messages: null, text: null }).erased).toBe(true);
  });
});

describe('an answer in a notebook', () => {
  it('of a strange format is plain text', () => {
    expect(parseAnswer({ text: 'x', format: 'svg', status: 'ok' }).format).toBe('text');
  });

  it('that is no object is refused', () => {
    expect(() => parseAnswer(['x'])).toThrow(WireError);
  });

  it('opens a record only by what can be an id', () => {
    expect([isCallId(ID), isCallId('../status'), isCallId(7)]).toEqual([true, false, false]);
  });
});

describe('errors', () => {
  it('are read in our shape and in Jupyter’s', () => {
    expect(parseError({ error: { type: 'LedgerError', message: 'disk full' } })).toBe('disk full');
    expect(parseError({ message: 'Forbidden', reason: null })).toBe('Forbidden');
    expect(parseError('no')).toBe('');
  });
});
