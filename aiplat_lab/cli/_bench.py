"""`aiplat bench savings`: what routing, the cache and limits save, measured on a workload."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aiplat_lab.cli._frame import Commands, Parser, client_of, command, count, say, share, show
from aiplat_lab.client import connect
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.settings import Home

if TYPE_CHECKING:
    from aiplat_lab.client import Client
    from aiplat_lab.evals import Savings

_EVALSET = "ticket-sentiment"
_PROMPT = "sentiment-examples"
STRONG, ROUTED = "strong", "routed"
DEMONSTRATION = """
[models.strong]
deployments = [{ provider = "local", model = "smollm2", input_usd_per_mtok = 2.5, output_usd_per_mtok = 10, max_output_tokens = 256 }]
[models.routed]
strategy = "complexity"
deployments = [
  { provider = "local", model = "smollm2-lite", input_usd_per_mtok = 1.25, output_usd_per_mtok = 5, max_output_tokens = 256 },
  { provider = "local", model = "smollm2", input_usd_per_mtok = 2.5, output_usd_per_mtok = 10, max_output_tokens = 256 },
]
"""
"""Two embedded models at assigned prices, for a first look without any provider."""


def add(commands: Commands) -> None:
    """Adds the commands that measure."""
    bench = commands.add_parser("bench", help="measure what the gateway does for you")
    actions = bench.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    saved = command(
        actions,
        "savings",
        _savings,
        "replay a workload on a strong model and on a routed one, and say what routing, the cache and limits save and at which score",
    )
    saved.add_argument("--strong", metavar="MODEL", help="the model that would get everything (default: an embedded one, assigned a price)")
    saved.add_argument("--routed", metavar="MODEL", help="the model with routing (default: two embedded ones, by complexity)")
    saved.add_argument("--evalset", default=_EVALSET, metavar="NAME|PATH", help=f"the questions (default: {_EVALSET})")
    saved.add_argument("--prompt", metavar="NAME|FILE", help="how to ask (default: the evalset's own, where it is shipped)")
    saved.add_argument("--scorer", metavar="SPEC", help="what a right answer is (default: the prompt's or the evalset's)")
    saved.add_argument("--again", type=share, default=0.3, help="the share of questions that come a second time (default: 0.3)")
    saved.add_argument("--limit", type=count, metavar="N", help="the longest answer that the routed side asks for, in tokens")
    saved.add_argument("--margin", type=share, default=0.15, help="how much worse still counts as equal; 0.05 is 5 points (default: 0.15)")


def _savings(arguments: argparse.Namespace) -> int:
    if bool(arguments.strong) is not bool(arguments.routed):
        raise UsageError("--strong and --routed go together: name both, or neither for the embedded models")
    from aiplat_lab.evals import savings  # loads what evaluates, when it is asked for

    with _client(arguments) as client:
        found = savings(
            arguments.evalset,
            strong=arguments.strong or STRONG,
            routed=arguments.routed or ROUTED,
            client=client,
            prompt=arguments.prompt or _prompt_of(arguments.evalset),
            scorer=arguments.scorer,
            again=arguments.again,
            limit_tokens=arguments.limit,
            margin=arguments.margin,
            tell=say,
        )
    if arguments.json:
        return show(arguments, [found.to_json()])
    if not arguments.strong:
        say("embedded models at assigned prices: a demonstration of the measurement, not of what your providers charge")
    show(arguments, _rows(found))
    print()
    print(found.sentence)
    return 0


@contextmanager
def _client(arguments: argparse.Namespace) -> Iterator[Client]:
    """The client of the named models' gateway, or of a gateway of its own that is gone afterwards."""
    if arguments.strong:
        yield client_of(arguments)
        return
    with tempfile.TemporaryDirectory(prefix="aiplat-bench-") as folder:
        home = Home(Path(folder) / "home").create()
        home.settings_file.write_text(DEMONSTRATION, encoding="utf-8")
        with connect(home) as client:
            try:
                yield client
            finally:
                client.stop()


def _prompt_of(evalset: str) -> Path | None:
    """The prompt that the default evalset is measured with."""
    if evalset != _EVALSET:
        return None
    from aiplat_lab.evals import load

    return Path(load(evalset).path).parent / "prompts" / f"{_PROMPT}.prompt.md"


def _rows(found: Savings) -> list[dict[str, str]]:
    return [
        {
            "side": found.strong,
            "calls": str(found.calls),
            "cost": f"${found.strong_usd:.6f}",
            "score": f"{100 * found.score_strong:.1f} %",
            "saved": "",
        },
        {
            "side": f"{found.routed}, cache off",
            "calls": str(found.calls),
            "cost": f"${found.uncached_usd:.6f}",
            "score": f"{100 * found.score_routed:.1f} %",
            "saved": f"{100 * found.by_routing:.1f} %",
        },
        {
            "side": f"{found.routed}, cache on",
            "calls": f"{found.calls} ({found.cached} cached)",
            "cost": f"${found.routed_usd:.6f}",
            "score": f"{100 * found.score_routed:.1f} %",
            "saved": f"{100 * found.saved:.1f} % ({100 * found.saved_low:.1f} to {100 * found.saved_high:.1f})",
        },
    ]
