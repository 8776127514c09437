/** How figures are written for people: the same texts as in the terminal, the dashboard and the report. */

const SIGNS: Readonly<Record<string, string>> = { USD: '$', GBP: '£', EUR: '€' };

interface IDecimal {
  readonly digits: bigint;
  /** How many of the digits stand behind the point. */
  readonly scale: number;
}

function decimal(value: string): IDecimal {
  const found = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(value);
  if (!found) {
    throw new RangeError(`${value} is not a decimal number`);
  }
  const [, sign, whole = '0', part = '', exponent = '0'] = found;
  const scale = part.length - Number(exponent);
  const digits = BigInt(`${sign}${whole}${part}`);
  return scale >= 0 ? { digits, scale } : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}

/** A non-negative number with `places` digits behind the point, halves to the even digit as Python rounds. */
function rounded({ digits, scale }: IDecimal, places: number): string {
  let kept = digits * 10n ** BigInt(Math.max(places - scale, 0));
  if (scale > places) {
    const unit = 10n ** BigInt(scale - places);
    const rest = digits % unit;
    kept = digits / unit;
    if (rest * 2n > unit || (rest * 2n === unit && kept % 2n === 1n)) {
      kept += 1n;
    }
  }
  const all = kept.toString().padStart(places + 1, '0');
  return places ? `${all.slice(0, -places)}.${all.slice(-places)}` : all;
}

/** Whether `value` is at least ten to the power of `exponent`. */
function reaches({ digits, scale }: IDecimal, exponent: number): boolean {
  const power = scale + exponent;
  return power >= 0 ? digits >= 10n ** BigInt(power) : digits > 0n;
}

/** An amount for display: `£1,204.50`, `£0.0031`, `unknown`; exact, since cents must agree everywhere. */
export function money(usd: string | null, currency: string, rate: string, unknown = 'unknown'): string {
  if (usd === null) {
    return unknown;
  }
  const [one, two] = [decimal(usd), decimal(rate)];
  const amount = { digits: one.digits * two.digits, scale: one.scale + two.scale };
  const size = { digits: amount.digits < 0n ? -amount.digits : amount.digits, scale: amount.scale };
  const sign = amount.digits < 0n ? '-' : '';
  return `${sign}${SIGNS[currency] ?? `${currency} `}${digitsOf(size)}`;
}

function digitsOf(size: IDecimal): string {
  if (size.digits === 0n) {
    return '0.00';
  }
  if (reaches(size, 0)) {
    const [whole = '0', part = ''] = rounded(size, 2).split('.');
    return `${whole.replace(/\B(?=(\d{3})+$)/g, ',')}.${part}`;
  }
  if (reaches(size, -2)) {
    return rounded(size, 3);
  }
  if (reaches(size, -6)) {
    return rounded(size, 6).replace(/0+$/, '');
  }
  return Number(`${size.digits}e-${size.scale}`).toPrecision(2);
}

/** The share of `part` in `whole`, from 0 upwards; 0 when `whole` is 0. */
export function share(part: string, whole: string): number {
  const limit = Number(whole);
  return limit > 0 ? Math.max(0, Number(part) / limit) : Number(part) > 0 ? 1 : 0;
}

/** A length of time for display: `340 ms`, `2.1 s`, `3 min 5 s`. */
export function seconds(value: number | null, unknown = 'unknown'): string {
  if (value === null) {
    return unknown;
  }
  if (value < 1) {
    return `${(value * 1000).toFixed(0)} ms`;
  }
  if (value < 60) {
    return `${value.toFixed(1)} s`;
  }
  const whole = Math.round(value);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

const COUNT = new Intl.NumberFormat('en-GB');

/** A count for display: `1,204`. */
export function count(value: number): string {
  return COUNT.format(value);
}

/** The end of a call's id, short and still telling: the start of a UUIDv7 is its time and the same for neighbours. */
export function shortId(callId: string): string {
  return callId.slice(-8);
}
