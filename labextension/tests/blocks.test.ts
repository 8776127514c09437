import { describe, expect, it } from 'vitest';

import { blocks } from '../src/blocks';

describe('a long text in blocks', () => {
  it.each([
    ['lines', 'The quick fox\n'.repeat(20_000)],
    ['one line', 'x'.repeat(300_000)],
    ['signs of two units', `a${'💡'.repeat(150_000)}`],
    ['a short one', 'short']
  ])('%s', (_, text) => {
    const found = blocks(text);
    expect(found.join('')).toBe(text);
    expect(Math.max(...found.map(part => part.length))).toBeLessThanOrEqual(20_001);
    expect(found.some(part => /[\ud800-\udbff]$|^[\udc00-\udfff]/.test(part))).toBe(false);
  });
});
