import { describe, expect, it } from 'vitest';

import { money, seconds, share, shortId } from '../src/figures';
import cases from './figures.json';

describe('figures are the same texts as in Python', () => {
  it.each(cases.money)('money $usd $currency at $rate is $shown', ({ usd, currency, rate, shown }) => {
    expect(money(usd, currency, rate)).toBe(shown);
  });

  it.each(cases.seconds)('$value s is $shown', ({ value, shown }) => {
    expect(seconds(value)).toBe(shown);
  });
});

describe('shares and ids', () => {
  it('a share of nothing is nothing, unless something was spent', () => {
    expect([share('5', '10'), share('0', '0'), share('1', '0'), share('-1', '10')]).toEqual([0.5, 0, 1, 0]);
  });

  it('a short id is the end, which differs between neighbours', () => {
    expect(shortId('01936f0e-7b3a-7c1e-9d2f-0123456789ab')).toBe('456789ab');
  });
});
