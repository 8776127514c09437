"""Every shipped prompt on its evalset with the embedded model, and how far the prompts of one set lie apart.

Run: python tests/bench/bench_evalsets.py [--set NAME …] [--model smollm2 …]
The weights must be there (`aiplat model pull smollm2`). The runs go through a gateway of their own, in a home that is thrown away.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from aiplat_lab import prompts
from aiplat_lab.client import Client, connect
from aiplat_lab.core.settings import shipped
from aiplat_lab.evals import Run, compare, evaluate, load
from aiplat_lab.evals._evalset import names

ALONE = {"cache_prompt": False}
"""Nothing is taken over from the call before, and no two calls are computed together: both move the last bits of a probability,
and with them now and then a word."""


def prompts_of(name: str) -> list[prompts.Prompt]:
    """The library's prompts for a set, and then those beside it."""
    library = [prompts.library(one) for one in prompts.library_names()]
    beside = [prompts.load(path) for path in sorted(shipped("evalsets", name).glob("prompts/*.prompt.md"))]
    return [*(one for one in library if one.evalset == name), *beside]


def measured(client: Client, name: str, model: str, folder: Path | None) -> None:
    """Prints the score of each prompt of a set, and how the first one compares with each."""
    first: Run | None = None
    for prompt in prompts_of(name):
        scorers = load(name).scorers
        run = evaluate(
            name,
            prompt=prompt,
            model=model,
            scorers=scorers,
            settings=ALONE,
            cache="off",
            concurrency=1,
            progress=False,
            client=client,
        )
        for one in run.summary():
            interval = "" if one.low is None else f"[{one.low:.3f}, {one.high:.3f}]"
            print(
                f"{name:24} {prompt.name:22} {model:14} {one.scorer:26} {one.mean:.3f} {interval} n={one.n} errors={one.errors}", flush=True
            )
        if first:
            print(f"    {first.prompt} against {prompt.name}: {compare(run, first, client=client).sentence}", flush=True)
        else:
            first = run
        if folder:
            run.frame().write_ndjson(folder / f"{name}.{prompt.name}.{model}.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", nargs="+", default=names(), choices=names())
    parser.add_argument("--model", nargs="+", default=["smollm2"])
    parser.add_argument("--answers", type=Path, help="a folder for the answers")
    given = parser.parse_args()
    if given.answers:
        given.answers.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="aiplat-bench-") as home, connect(home) as client:
        try:
            for model in given.model:
                for name in given.set:
                    measured(client, name, model, given.answers)
        finally:
            client.stop()


if __name__ == "__main__":
    main()
