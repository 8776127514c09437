"""`aiplat cache show | clear | report`: what the cache keeps and saved, and how far the semantic cache can be trusted."""

from __future__ import annotations

import argparse

from aiplat_lab.cli._frame import Commands, Parser, client_of, command, say, show
from aiplat_lab.core.text import money
from aiplat_lab.core.types import Json


def add(commands: Commands) -> None:
    """Adds the commands of the cache."""
    cache = commands.add_parser("cache", help="the cache: what it keeps and saved, clearing it, and a report on false hits")
    actions = cache.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    command(actions, "show", _show, "show, by team, how many answers are kept, how often they were given, and what that saved")
    clear = command(actions, "clear", _clear, "give no answer again that was given before now; the ledger keeps what it holds")
    clear.add_argument("--team", default="", help="only this team's answers (default: all)")
    report = command(
        actions,
        "report",
        _report,
        "measure on pairs of questions how often the semantic cache would answer rightly and wrongly, with and without its guards",
    )
    report.add_argument("--evalset", default="question-pairs", metavar="NAME|PATH", help="the pairs (default: question-pairs)")
    report.add_argument("--model", default="minilm", metavar="NAME", help="the model that embeds them (default: minilm)")
    report.add_argument(
        "--threshold", action="append", type=_similarity, metavar="NUMBER", help="a least similarity to look at; may be repeated"
    )
    report.add_argument("--by-change", action="store_true", help="a row for each kind of change")


def _similarity(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a similarity above 0 and at most 1, such as 0.9")
    return value


def _show(arguments: argparse.Namespace) -> int:
    rows = client_of(arguments).get("/api/cache")["rows"]
    return show(arguments, rows if arguments.json else [_line(row) for row in rows], empty="the cache is empty and was not used yet")


def _line(row: dict[str, Json]) -> dict[str, Json]:
    asked = row["hits"] + row["misses"]
    return {
        "team": row["team"],
        "answers": row["answers"],
        "in memory": f"{row['in_memory']} ({row['memory_mb']:.1f} MB)",
        "hits": row["hits"],
        "by meaning": row["semantic_hits"],
        "hit rate": f"{100 * row['hits'] / asked:.0f} %" if asked else "–",
        "saved": money(row["saved_usd"]),
    }


def _clear(arguments: argparse.Namespace) -> int:
    done = client_of(arguments).post("/api/cache/clear", {"team": arguments.team})
    show(arguments, [done])
    if not arguments.json:
        say("answers given until now are not given again; their calls stay in the ledger")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from aiplat_lab.observe.cache import THRESHOLDS, cache_report  # heavy

    rows = cache_report(
        client_of(arguments),
        evalset=arguments.evalset,
        model=arguments.model,
        thresholds=arguments.threshold or THRESHOLDS,
        by_change=arguments.by_change,
    )
    if arguments.json:
        return show(arguments, rows)
    show(arguments, [_report_line(row) for row in rows])
    say(f"{arguments.model} on {arguments.evalset}; intervals are Wilson's, 95 %. Other questions may fare better or worse.")
    return 0


def _report_line(row: dict[str, Json]) -> dict[str, Json]:
    return {
        **({"change": row["change"]} if "change" in row else {}),
        "threshold": f"{row['threshold']:.2f}",
        "guards": "yes" if row["guards"] else "no",
        "same meaning, answered": _share(row, "hit"),
        "other meaning, answered wrongly": _share(row, "false_hit"),
    }


def _share(row: dict[str, Json], name: str) -> str:
    if row[f"{name}_rate"] is None:
        return "–"
    rate, low, high = (100 * row[f"{name}_{part}"] for part in ("rate", "low", "high"))
    return f"{row[f'{name}s']} of {row[f'{name}_of']}: {rate:.1f} % ({low:.1f} to {high:.1f})"
