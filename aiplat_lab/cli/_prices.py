"""`aiplat cost | prices`: what was paid and by whom, and what the models cost now."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from aiplat_lab.cli._frame import Commands, Parser, add_filters, client_of, command, filters_of, home_of, say, show
from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.text import money
from aiplat_lab.core.types import Deployment, Json, Price, utc_now
from aiplat_lab.prices import Prices, differences, frozen

ALLOCATED = ("team", "project", "cost_centre", "user", "notebook", "tag", "key", "prompt", "surface", "model", "provider")
SNAPSHOT = "prices.json"
_CLASSES = tuple(field.name for field in fields(Price) if field.name.endswith("_per_mtok"))


def add(commands: Commands) -> None:
    """Adds the commands of money."""
    cost = command(commands, "cost", _cost, "show what was spent and who pays it, with what nobody knows the price of")
    cost.add_argument("--by", choices=ALLOCATED, default="team", help="default: team")
    cost.add_argument("--tag", metavar="NAME", help="with --by tag: only this tag")
    cost.add_argument("--savings", action="store_true", help="show instead what cache, routing and cheaper tiers saved")
    add_filters(cost)
    prices = commands.add_parser("prices", help="show what each model costs now, and where the price stands")
    actions = prices.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    command(actions, "list", _list, "list the price that holds now for each deployment, unknown ones first")
    one = command(actions, "show", _show, "show every price of a model: by length of input, tiers, other units")
    one.add_argument("model", help="a name of [models], or provider/model")
    check = command(actions, "check", _check, "compare the prices with those of an earlier day; exit code 1 when one changed")
    check.add_argument("--file", type=Path, default=None, metavar="FILE", help=f"the earlier prices (default: {SNAPSHOT} in the home)")
    check.add_argument("--accept", action="store_true", help="take today's prices as the ones to compare with from now on")


def _cost(arguments: argparse.Namespace) -> int:
    client, filters = client_of(arguments), filters_of(arguments)
    if arguments.tag and arguments.by != "tag":
        raise UsageError("--tag goes with --by tag")
    if arguments.savings:
        return show(arguments, client.view_rows("savings", **filters), empty="nothing was saved yet")
    rows = client.view_rows("allocation", by=arguments.by, **({"tag": arguments.tag} if arguments.tag else {}), **filters)
    if arguments.json:
        return show(arguments, rows)
    show(arguments, [_line(row) for row in rows], empty="no calls yet")
    total = client.view_rows("totals", **filters)[0]
    said = f"{money(total['cost_usd'])} in {total['calls']:,} calls; saved {money(total['saved_usd'])}"
    if total["unpriced_calls"]:
        said += f"; {total['unpriced_calls']:,} answered calls are not in it: nobody knows their price (aiplat prices list)"
    say(said)
    return 0


def _line(row: dict[str, Json]) -> dict[str, Json]:
    share = row["share"]
    return {
        **({"tag": row["tag"]} if row["by"] == "tag" else {}),
        row["by"]: row["name"] if row["name"] is not None else "(not allocated)",
        "cost": money(row["cost_usd"]),
        "share": "–" if share is None else f"{100 * float(share):.1f} %",
        "calls": row["calls"],
        "unpriced": row["unpriced_calls"],
        "saved": money(row["saved_usd"]),
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
    }


def _deployments(settings: Settings) -> list[tuple[str, Deployment]]:
    return [(name, one) for name in settings.models for one in settings.deployments(name)]


def _list(arguments: argparse.Namespace) -> int:
    settings, now = home_of(arguments).load(), utc_now()
    prices = Prices(settings)
    rows = []
    for name, deployment in _deployments(settings):
        held = prices.held(deployment, now)
        price = None if held.rates is None else held.rates.prices[0]
        rows.append(
            {
                "model": name,
                "deployment": deployment.name,
                "region": deployment.region,
                "tier": deployment.service_tier,
                "input_usd_per_mtok": None if price is None else f"{price.input_usd_per_mtok:f}",
                "output_usd_per_mtok": None if price is None else f"{price.output_usd_per_mtok:f}",
                "source": held.source or "unknown",
                "since": held.since,
            }
        )
    return show(arguments, sorted(rows, key=lambda row: row["source"] != "unknown"))


def _show(arguments: argparse.Namespace) -> int:
    settings = home_of(arguments).load()
    found = settings.deployments(arguments.model)
    if not found:
        near = did_you_mean(arguments.model, settings.models)
        raise UsageError(f"there is no model {arguments.model!r}.{near} Write a name of [models], or provider/model.")
    prices = Prices(settings)
    return show(arguments, [row for deployment in found for row in _whole(prices, deployment)])


def _whole(prices: Prices, deployment: Deployment) -> Iterable[dict[str, Json]]:
    """Every price of a deployment, one a row."""
    held = prices.held(deployment, utc_now())
    about = {"deployment": deployment.name, "source": held.source or "unknown", "since": held.since}
    if held.rates is None:
        yield {**about, "price": "unknown", "usd": None, "per": ""}
    else:
        for start, price in zip((0, *held.rates.starts), held.rates.prices, strict=True):
            beyond = f", beyond {start:,} input tokens" if start else ""
            for name in _CLASSES:
                if getattr(price, name) is not None:
                    kind = name.removesuffix("_usd_per_mtok")
                    yield {**about, "price": kind + beyond, "usd": f"{getattr(price, name).normalize():f}", "per": "million tokens"}
            for unit, usd in price.other_usd.items():
                yield {**about, "price": unit + beyond, "usd": f"{usd.normalize():f}", "per": "one"}
    if held.tiers:
        yield {**about, "price": "other tiers", "usd": None, "per": ", ".join(held.tiers)}


def _check(arguments: argparse.Namespace) -> int:
    home = home_of(arguments)
    settings = home.load()
    path = arguments.file.expanduser() if arguments.file else home.path / SNAPSHOT
    now = frozen(Prices(settings), [one for _, one in _deployments(settings)], utc_now())
    if arguments.accept or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"at": utc_now().isoformat(timespec="seconds"), "prices": now}, indent=1) + "\n", encoding="utf-8")
        say(f"{len(now):,} prices of today are in {path}; the next check compares with them")
        return show(arguments, [{"file": str(path), "deployments": len(now), "unknown": sum(price is None for price in now.values())}])
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["prices"]
        changed = differences(before, now)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} is not a file that `aiplat prices check` wrote; --accept writes it anew") from None
    show(arguments, changed, empty=f"no price changed: {len(now):,} deployments")
    if changed and not arguments.json:
        say("`aiplat prices check --accept` takes them as they are now")
    return int(bool(changed))
