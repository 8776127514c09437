"""`aiplat eval run | show | compare | gate | baseline | list`: evaluations, and gates for continuous integration."""

from __future__ import annotations

import argparse
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiplat_lab.cli._frame import Commands, Parser, client_of, command, say, share, show
from aiplat_lab.core.errors import AiplatError, UsageError
from aiplat_lab.core.text import money, table

if TYPE_CHECKING:
    from aiplat_lab.client import Client
    from aiplat_lab.evals import Estimate, Run


def add(commands: Commands) -> None:
    """Adds the commands that evaluate; what they need is loaded when one runs."""
    evals = commands.add_parser("eval", help="evaluations: run, show, compare, and gate against a baseline")
    actions = evals.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    run = command(
        actions, "run", _run, "ask a model every sample of an evalset and score the answers; exit code 1 when the run is not complete"
    )
    run.add_argument("evalset", nargs="?", help="a shipped evalset, such as ticket-sentiment, or a path; may be left out with --resume")
    _run_options(run)
    run.add_argument("--dry-run", action="store_true", help="say how many calls, tokens and dollars it would be, and send nothing")
    run.add_argument("--resume", metavar="RUN", help="take up this run again: ask only what is missing or failed, pay for nothing twice")
    _show_and_compare(actions)
    gate = command(
        actions,
        "gate",
        _gate,
        "judge a run against a baseline; exit code 0 pass, 1 regression, 2 used wrongly, 3 inconclusive, 4 could not run",
    )
    gate.add_argument("run_id", nargs="?", metavar="RUN", help="the run that is judged: its id, the beginning of it, or its name")
    gate.add_argument(
        "--run-now", metavar="EVALSET", help="evaluate this evalset first, with the options of `aiplat eval run`, and judge that"
    )
    gate.add_argument("--baseline", required=True, metavar="NAME", help="the baseline, or the run to compare with")
    gate.add_argument("--margin", type=share, default=0.05, help="how much worse still passes; 0.05 is 5 points (default: 0.05)")
    gate.add_argument("--common", action="store_true", help="compare the common ids of two different evalsets")
    gate.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    gate.add_argument("--markdown", type=Path, metavar="FILE", help="write Markdown")
    _run_options(gate)
    baseline = command(actions, "baseline", _baseline, "let a baseline's name stand for a run")
    baseline.add_argument("name", help="the baseline's name, such as tickets-production")
    baseline.add_argument("run_id", metavar="RUN", help="the run: its id, the beginning of it, or its name")
    baseline.add_argument("--reason", default="", help="why, for the record")
    listed = command(actions, "list", _list, "list the evalsets that are shipped, or runs, baselines, scorers")
    what = listed.add_mutually_exclusive_group()
    what.add_argument("--runs", action="store_true", help="list the runs, newest first")
    what.add_argument("--baselines", action="store_true", help="list the baselines")
    what.add_argument("--scorers", action="store_true", help="list the scorers")


def _show_and_compare(actions: Commands) -> None:
    shown = command(actions, "show", _show, "show a run: scores with intervals, cost, errors, slices")
    shown.add_argument("run_id", metavar="RUN", help="its id, the beginning of it, or its name (the newest of that name)")
    shown.add_argument("--slices", action="store_true", help="show the main scorer for each slice")
    shown.add_argument("--samples", action="store_true", help="show every sample")
    shown.add_argument("--report", action="store_true", help="print the run's canonical report: the same bytes for the same answers")
    compare = command(actions, "compare", _compare, "compare two runs on the samples that both have")
    compare.add_argument("a", metavar="A", help="the run to compare with")
    compare.add_argument("b", metavar="B", help="the run that is judged")
    compare.add_argument(
        "--scorer", action="append", metavar="NAME", help="a scorer that both have; may be repeated (default: the main one)"
    )
    compare.add_argument(
        "--margin", type=share, default=0.0, help="how much worse still counts as not worse; 0.05 is 5 points (default: 0)"
    )
    compare.add_argument("--slices", action="store_true", help="compare each slice as well")
    compare.add_argument("--common", action="store_true", help="compare the common ids of two different evalsets")


def _run_options(sub: Parser) -> None:
    sub.add_argument("--prompt", metavar="NAME|FILE", help="a prompt of the registry, a .prompt.md, or a template text")
    sub.add_argument("--model", metavar="NAME", help="the model (default: the prompt's, or the default model)")
    sub.add_argument("--scorer", action="append", metavar="SPEC", help="exact, regex:^\\d+$, numeric:tolerance=0.01, …; may be repeated")
    sub.add_argument("--epochs", type=_number, default=1, help="how often each sample is asked (default: 1)")
    sub.add_argument("--concurrency", type=_number, default=8, help="how many samples are under way at once (default: 8)")
    sub.add_argument("--max-cost-usd", type=_usd, metavar="USD", help="stop before a call once so much is spent, judges included")
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the requests, such as temperature=0")
    sub.add_argument("--cache", choices=("auto", "on", "refresh", "off"), default="auto", help="whether answers may come from the cache")
    sub.add_argument("--batch", action="store_true", help="hand the calls to the provider's batch API, at its lower price, and wait")
    sub.add_argument("--name", metavar="NAME", help="what to call the run (default: the evalset's name)")


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _usd(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except ArithmeticError:
        value = Decimal(-1)
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of 0 or more US dollars")
    return value


def _settings(pairs: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {pair[:60]!r}: write KEY=VALUE, such as temperature=0")
        try:
            found[key.strip()] = json.loads(value)
        except ValueError:
            found[key.strip()] = value
    return found


def _options(arguments: argparse.Namespace, client: Client) -> dict[str, Any]:
    return {
        "prompt": arguments.prompt,
        "model": arguments.model,
        "scorers": arguments.scorer,
        "epochs": arguments.epochs,
        "concurrency": arguments.concurrency,
        "max_cost_usd": arguments.max_cost_usd,
        "settings": _settings(arguments.set),
        "cache": arguments.cache,
        "batch": arguments.batch,
        "name": arguments.name,
        "client": client,
        "progress": not arguments.json,
    }


def _run(arguments: argparse.Namespace) -> int:
    from aiplat_lab.evals import evaluate, run

    client = client_of(arguments)
    if arguments.evalset is None and not arguments.resume:
        raise UsageError("which evalset? `aiplat eval list` lists those that are shipped; or give a path, or --resume RUN")
    options = _options(arguments, client)
    if arguments.dry_run:
        return _dry(arguments, evaluate(arguments.evalset, dry_run=True, resume=arguments.resume, **options))
    before = run(arguments.resume, client=client) if arguments.resume else None
    finished = before is not None and before.status == "complete" and not before.errors
    done = evaluate(arguments.evalset, resume=None if before is None else before.id, **options)
    if finished:
        say("the run is finished already: nothing was asked, and nothing was paid")
    _print_run(arguments, done)
    if done.status == "complete":
        return 0
    if not arguments.json:
        say(f"take it up again with `aiplat eval run --resume {done.id}`")
    return 1


def _dry(arguments: argparse.Namespace, found: Estimate) -> int:
    if arguments.json:
        return show(arguments, [found.to_json()])
    price = "at an unknown price" if found.low_usd is None else f"{money(found.low_usd)} to {money(found.high_usd)}"
    print(
        f"{found.calls:,} calls ({found.scorer_calls:,} of them by scorers), about {found.input_tokens:,} tokens in and "
        f"{found.output_tokens_low:,} to {found.output_tokens_high:,} out: {price}. Nothing was sent."
    )
    return 0


def _print_run(arguments: argparse.Namespace, run: Run) -> None:
    from aiplat_lab.evals._run import as_json

    if arguments.json:
        show(arguments, [as_json(run)])
        return
    print(f"{run.evalset} {run.evalset_hash[:8]} · {run.model} · {run.prompt} · run {run.id}\n")
    print(run.table())
    print(f"\n{run.sentence}")


def _show(arguments: argparse.Namespace) -> int:
    from aiplat_lab.evals import run
    from aiplat_lab.evals._run import shown

    found = run(arguments.run_id, client=client_of(arguments))
    if arguments.report:
        print(found.report())
        return 0
    if arguments.samples or (arguments.slices and arguments.json):
        return show(arguments, _samples(found) if arguments.samples else found.slices(), empty="no samples yet")
    _print_run(arguments, found)
    if arguments.slices:
        main = found.summary()[0]
        rows = [
            {
                "slice": one["slice"],
                "value": one["value"],
                main.scorer: "–" if one["mean"] is None else shown(one["mean"], main),
                "95 % interval": "–" if one["low"] is None else f"{shown(one['low'], main)} to {shown(one['high'], main)}",
                "n": one["n"],
                "errors": one["errors"],
            }
            for one in found.slices()
        ]
        print(f"\n{table(rows) or 'the samples name no slices'}")
    return 0


def _samples(run: Run) -> list[dict[str, Any]]:
    return [
        {
            "sample": row["sample_id"],
            "epoch": row["epoch"],
            "status": row["status"],
            **{name: (row.get("scores") or {}).get(name) for name in run.scorers},
            "note": row.get("error") or "; ".join((row.get("notes") or {}).values())[:60],
            "call_id": row["call_id"],
        }
        for row in run.rows
    ]


def _compare(arguments: argparse.Namespace) -> int:
    from aiplat_lab.evals import compare

    found = compare(
        arguments.a,
        arguments.b,
        scorer=arguments.scorer,
        margin=arguments.margin,
        slices=arguments.slices,
        common=arguments.common,
        client=client_of(arguments),
    )
    if arguments.json:
        return show(arguments, [found.to_json()])
    print(f"A  {found.a.name} · {found.a.model} · {found.a.prompt} · {found.a.id}")
    print(f"B  {found.b.name} · {found.b.model} · {found.b.prompt} · {found.b.id}\n")
    print(found.table())
    if len(found.pairings) > 1:
        print(f"\n{len(found.pairings)} comparisons at once; p adjusted by {found.correction}.")
    print(f"\n{found.sentence}")
    return 0


def _gate(arguments: argparse.Namespace) -> int:
    from aiplat_lab.evals._gate import COULD_NOT_RUN

    try:
        return _gated(arguments)
    except UsageError:
        raise  # exit code 2
    except (AiplatError, OSError) as error:
        text = error.message if isinstance(error, AiplatError) else f"{error.filename}: {error.strerror}"
        say(f"aiplat eval gate: could not run: {text}")
        return COULD_NOT_RUN


def _gated(arguments: argparse.Namespace) -> int:
    from aiplat_lab.evals import baseline_run, evaluate, gate, run

    if (arguments.run_id is None) is (arguments.run_now is None):
        raise UsageError("which run? Give its id or name, or --run-now EVALSET to evaluate first; not both")
    client = client_of(arguments)
    against = baseline_run(arguments.baseline, client=client)
    if arguments.run_now is not None:
        options = _options(arguments, client)
        options["scorers"] = options["scorers"] or list(against.scorers)
        judged = evaluate(arguments.run_now, **options)
    else:
        judged = run(arguments.run_id, client=client)
    wanted = arguments.scorer if arguments.run_now is None else None
    result = gate(judged, arguments.baseline, arguments.margin, scorers=wanted, common=arguments.common, client=client)
    for path, text in ((arguments.junit, result.junit()), (arguments.markdown, result.markdown())):
        if path is not None:
            path.write_text(text, encoding="utf-8")
    if arguments.json:
        show(arguments, [result.to_json()])
    else:
        print(result.sentence)
    return result.exit_code


def _baseline(arguments: argparse.Namespace) -> int:
    from aiplat_lab.evals import baseline

    made = baseline(arguments.name, arguments.run_id, reason=arguments.reason, client=client_of(arguments))
    return show(arguments, [{name: made[name] for name in ("name", "run_id")}])


def _list(arguments: argparse.Namespace) -> int:
    from aiplat_lab.evals import load
    from aiplat_lab.evals._evalset import names
    from aiplat_lab.evals._score import names as scorer_names
    from aiplat_lab.evals.scorers import describe

    if arguments.scorers:
        said = describe() if scorer_names() else {}
        return show(arguments, [{"scorer": name, "what": said[name]} for name in scorer_names()])
    if arguments.runs:
        rows = client_of(arguments).view_rows("eval_run_list", limit=100)
        if not arguments.json:
            rows = [{**row, "started_at": str(row["started_at"])[:16].replace("T", " "), "status": row["status"] or "open"} for row in rows]
        brief = ("run_id", "name", "evalset", "model", "prompt_name", "samples", "epochs", "status", "started_at")
        return show(arguments, rows, columns=None if arguments.json else brief, empty="no runs yet: `aiplat eval run EVALSET`")
    if arguments.baselines:
        rows = client_of(arguments).view_rows("eval_baseline_list")
        return show(arguments, rows, empty="no baselines yet: `aiplat eval baseline NAME RUN`")
    found = [load(name) for name in names()]
    return show(
        arguments,
        [
            {"evalset": one.name, "samples": len(one), "version": one.hash[:8], "about": str(one.card.get("purpose") or "")[:80]}
            for one in found
        ],
    )
