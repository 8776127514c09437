"""Every shipped prompt on its evalset with the embedded model, and how far two prompts of one set lie apart.

Run: python tests/bench/bench_evalsets.py [--set NAME …] [--model smollm2 …] [--answers FILE]
The weights must be there (`aiplat model pull smollm2`). Each call goes through a gateway of its own, in a home that is thrown away.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evalsets"))

from evalsetkit import SCORE, SIZES, card, prompts, samples

from aiplat_lab.client import Client, connect
from aiplat_lab.prompts import Prompt


def scores(client: Client, one: Prompt, model: str, kept: Any) -> list[float]:
    """The score of each sample, in the order of the file."""
    name = one.evalset
    score = SCORE[card(name)[0]["scorers"][0]]
    found = []
    for sample in samples(name):
        values = {name: value for name, value in sample["input"].items() if name in one.variables}
        response = client.chat(replace(one.request(values, model=model), cache="off", timeout_s=600))
        found.append(score(response.text, sample))
        if kept:
            row = {"set": name, "prompt": one.name, "model": model, "id": sample["id"], "answer": response.text, "score": found[-1]}
            kept.write(json.dumps(row, ensure_ascii=False) + "\n")
    return found


def interval(values: list[float], clusters: list[str]) -> tuple[float, float, float]:
    """The mean and its 95 % interval, with errors that are clustered (sandwich, many clusters)."""
    mean = sum(values) / len(values)
    sums: dict[str, float] = defaultdict(float)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - mean
    count = len(sums)
    error = math.sqrt(sum(one * one for one in sums.values()) * count / (count - 1)) / len(values)
    return mean, mean - 1.96 * error, mean + 1.96 * error


def compare(client: Client, name: str, model: str, kept: Any) -> None:
    """Prints the score of each prompt of a set, and the difference of each to the first."""
    clusters = [sample["cluster"] for sample in samples(name)]
    first: tuple[str, list[float]] | None = None
    for one in sorted((one for one in prompts() if one.evalset == name), key=lambda one: "library" not in one.source):
        values = scores(client, one, model, kept)
        mean, low, high = interval(values, clusters)
        line = f"{name:24} {one.name:24} {model:16} {mean:6.3f} [{low:.3f}, {high:.3f}] n={len(values)} full={sum(v == 1 for v in values)}"
        if first:
            apart, low, high = interval([left - right for left, right in zip(first[1], values, strict=True)], clusters)
            line += f"  {first[0]} is {apart:+.3f} [{low:+.3f}, {high:+.3f}]"
        first = first or (one.name, values)
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--model", nargs="+", default=["smollm2"])
    parser.add_argument("--answers", type=Path, help="a file for every answer, one JSON object a line")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aiplat-bench-") as home, connect(home) as client:
        kept = given.answers.open("a", encoding="utf-8") if given.answers else None
        try:
            for model in given.model:
                for name in given.set:
                    compare(client, name, model, kept)
        finally:
            if kept:
                kept.close()
            client.stop()


if __name__ == "__main__":
    main()
