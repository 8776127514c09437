"""A saved prompt in a warm kernel: how long `prompts.get` takes, with one prompt and with a thousand, and how soon a move is seen.

Run: `nice python tests/bench/bench_prompts.py [--gets 200000] [--prompts 1000]`
Microseconds: p50, p99 and p99.9 of single calls by the wall clock, and the mean of CPU time, which neighbours disturb less.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from served import served

from aiplat_lab import prompts
from aiplat_lab.client import Client, connect
from aiplat_lab.prompts import _store

TEXT = "---\nname: {name}\nvariables: {{text: string}}\n---\nSummarise {{{{ text }}}}, please. {extra}"


def gets(client: Client, reference: str, count: int) -> dict[str, float]:
    """What single calls cost."""
    prompts.get(reference, client)
    taken: list[int] = []
    cpu = time.process_time_ns()
    for _ in range(count):
        begun = time.perf_counter_ns()
        prompts.get(reference, client)
        taken.append(time.perf_counter_ns() - begun)
    cpu = time.process_time_ns() - cpu
    taken.sort()
    at = {name: taken[int(count * share)] / 1000 for name, share in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999))}
    return {**at, "cpu_us": cpu / count / 1000}


def moves(client: Client, rounds: int) -> list[float]:
    """Milliseconds from the answer to `label` until another store of the same home gives the new version."""
    other = _store.Store(connect(client.home))
    found = []
    for index in range(rounds):
        version = "1.0.0" if index % 2 else "1.0.1"
        prompts.label("p0", "production", version, client=client)
        begun = time.perf_counter()
        while other.get("p0@production").version != version:
            time.sleep(0.001)
        found.append((time.perf_counter() - begun) * 1000)
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gets", type=int, default=200_000)
    parser.add_argument("--prompts", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder) / "home") as place:
        client = place.client
        for extra in ("", "Now."):
            prompts.save(TEXT.format(name="p0", extra=extra), client=client)
        prompts.label("p0", "production", "1.0.0", client=client)
        result: dict[str, object] = {"one prompt": gets(client, "p0@production", options.gets)}
        seen = moves(client, 40)
        result["a move is seen after, ms"] = {"p50": seen[20], "worst": seen[-1]}
        rows = []
        for index in range(1, options.prompts):
            prompt = prompts.parse(TEXT.format(name=f"p{index}", extra=""))
            rows.append(
                {
                    "id": f"{prompt.name}@1.0.0",
                    "name": prompt.name,
                    "version": "1.0.0",
                    "content_hash": prompt.content_hash,
                    "text": prompt.text,
                    "change": "first",
                }
            )
        begun = time.perf_counter()
        client.record_all("prompt_version", rows)
        result["saving the others, s"] = time.perf_counter() - begun
        begun = time.perf_counter()
        prompts.get(f"p{options.prompts - 1}", client)
        result["first get after that, ms"] = (time.perf_counter() - begun) * 1000
        result[f"{options.prompts} prompts"] = gets(client, "p0@production", options.gets)
        begun = time.perf_counter()
        prompts.save(TEXT.format(name="p1", extra="x"), client=client)
        result["one more save, ms"] = (time.perf_counter() - begun) * 1000
        client.stop()
        time.sleep(0.6)
        result["without a gateway"] = {**gets(client, "p0@production", options.gets // 4), "last_copy": prompts.get("p0", client).last_copy}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
