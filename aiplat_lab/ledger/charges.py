"""What each call was charged for: SQL that takes a row's cost apart by meter, out of nothing but the row itself.

A meter is a class of tokens, a part of one that is priced apart, or another unit. Amounts are exact: a price of a million tokens
has nine decimals, so a token's has fifteen, and other units have eighteen.
"""

from __future__ import annotations

from aiplat_lab.core.types import TOKEN_PARTS

EXACT = "DECIMAL(38,18)"
_FRESH = "input_usd_per_mtok"
_CLASSES = {
    "input_tokens": _FRESH,
    "cache_read_tokens": f"coalesce(cache_read_usd_per_mtok, {_FRESH})",
    "cache_write_tokens": f"coalesce(cache_write_usd_per_mtok, {_FRESH})",
    "output_tokens": "coalesce(output_usd_per_mtok, 0)",
    "reasoning_tokens": "coalesce(reasoning_usd_per_mtok, output_usd_per_mtok, 0)",
}
_HOUR = "least({units}, coalesce(cache_write_tokens, 0))"
_PART = "part_{}"
_NOT_UNITS = ", ".join(f"'{name}'" for name in (*TOKEN_PARTS, "cache_write_1h_usd_per_mtok", "discount"))
PRICED = (
    f"cost_usd IS NOT NULL AND {_FRESH} IS NOT NULL AND (input_tokens IS NOT NULL OR output_tokens IS NOT NULL) "
    "AND cache IS DISTINCT FROM 'hit'"
)
"""The calls that were paid for and hold what their cost is made of."""


def _units(name: str) -> str:
    return f"coalesce(TRY_CAST(other_units['{name}'] AS BIGINT), 0)"


def _usd(name: str) -> str:
    return f"TRY_CAST(other_prices_usd['{name}'] AS {EXACT})"


def _of_mtok(price: str) -> str:
    return f"(({price})::DECIMAL(18,9) * 0.000001::DECIMAL(7,6))::{EXACT}"


def _meter(name: str, quantity: str, usd: str) -> str:
    return f"{{'meter': '{name}', 'quantity': ({quantity})::BIGINT, 'unit_usd': ({usd})::{EXACT}}}"


def _parts() -> str:
    """A column for each part: how many of its class's tokens are priced apart, the first parts first, no more than there are."""
    found = []
    for part, whole in TOKEN_PARTS.items():
        before = "".join(f" - {_PART.format(other)}" for other in _before(part))
        less = f"greatest(least({_units(part)}, coalesce({whole}, 0){before}), 0)"
        found.append(f"CASE WHEN {_usd(part)} IS NULL THEN 0 ELSE {less} END AS {_PART.format(part)}")
    return ", ".join(found)


def _before(part: str) -> list[str]:
    """The parts of the same class that come first."""
    same = [other for other, whole in TOKEN_PARTS.items() if whole == TOKEN_PARTS[part]]
    return same[: same.index(part)]


def _meters() -> list[str]:
    hour = _HOUR.format(units=_units("cache_write_1h_tokens"))
    found = []
    for name, price in _CLASSES.items():
        taken = "".join(f" - {_PART.format(part)}" for part, whole in TOKEN_PARTS.items() if whole == name)
        taken = f" - {hour}" if name == "cache_write_tokens" else taken
        found.append(_meter(name, f"coalesce({name}, 0){taken}", _of_mtok(price)))
    written = f"coalesce({_usd('cache_write_1h_usd_per_mtok')}, cache_write_usd_per_mtok, {_FRESH})"
    found.append(_meter("cache_write_1h_tokens", hour, _of_mtok(written)))
    found += [_meter(part, _PART.format(part), f"coalesce({_usd(part)}, 0)") for part in TOKEN_PARTS]
    return found


_OTHERS = (
    f"list_transform(list_filter(map_entries(other_prices_usd), lambda e: e.key NOT IN ({_NOT_UNITS})), lambda e: "
    "{'meter': e.key, 'quantity': coalesce(TRY_CAST(other_units[e.key] AS BIGINT), CASE WHEN e.key = 'requests' THEN 1 ELSE 0 END), "
    f"'unit_usd': TRY_CAST(e.value AS {EXACT})}})"
)
CHARGES = (
    f"SELECT *, unit_usd * quantity AS exact_usd FROM (SELECT * EXCLUDE (charge), charge.meter AS meter, charge.quantity AS quantity, "
    f"charge.unit_usd AS unit_usd FROM (SELECT *, unnest(list_concat([{', '.join(_meters())}], {_OTHERS})) AS charge "
    f"FROM (SELECT *, {_parts()} FROM calls WHERE {PRICED}))) WHERE quantity > 0"
)
"""One row for each call and meter, with the call's own columns: `meter`, `quantity`, `unit_usd`, `exact_usd`."""

_NANO = "replace({}::VARCHAR, '.', '')::HUGEINT"
_OVER, _UNDER = "exact // 1000000000", "exact % 1000000000"
# rounded once, half to even, in whole numbers
REPRICED = (
    f"SELECT seq, ({_OVER} + CASE WHEN {_UNDER} > 500000000 OR ({_UNDER} = 500000000 AND ({_OVER}) % 2 = 1) THEN 1 ELSE 0 END) AS nano "
    f"FROM (SELECT seq, {_NANO.format('sum(exact_usd)')} AS exact FROM ({CHARGES}) GROUP BY seq)"
)
"""The cost of each call that was charged for something, priced again from its row: `seq`, `nano` in billionths of a dollar."""
COST_NANO = _NANO.format("cost_usd")
"""A row's cost in billionths of a dollar."""
