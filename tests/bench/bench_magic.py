"""What a cell costs: loading, a warm `%%ai` against plain httpx, the delay of the first text, and the fuzz of variables.

    python tests/bench/bench_magic.py load            # CPU and memory of %load_ext, 15 fresh processes
    python tests/bench/bench_magic.py warm            # %%ai through the gateway and keep-alive httpx straight to the same
                                                      # upstream, in turn, in one real kernel; plain and streaming
    python tests/bench/bench_magic.py first           # from the upstream's first chunk to the first display at the front end
    python tests/bench/bench_magic.py hit             # an answer from the ledger
    python tests/bench/bench_magic.py profile         # where the kernel's time goes in a warm %%ai
    python tests/bench/bench_magic.py fuzz            # 10,000 hostile values: no second expansion

Each prints one JSON object. The upstream is the tests' fault server in this process; the gateway and the kernel are
processes of their own. `--calls N` sets the number of calls of a kind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "magic")]

from faults import FaultServer  # noqa: E402

from aiplat_lab.client import connect  # noqa: E402
from aiplat_lab.core.settings import Home  # noqa: E402

SETTINGS = """
[providers.up]
kind = "openai"
base_url = "{url}"
[models.bench]
deployments = [{{ provider = "up", model = "instant", input_usd_per_mtok = 1, output_usd_per_mtok = 4 }}]
[models.late]
deployments = [{{ provider = "up", model = "slow-first-1s", input_usd_per_mtok = 1, output_usd_per_mtok = 4 }}]
[[budgets]]
limit_usd = 1000.0
period = "month"
"""

WARM = """
import httpx, json, os, statistics, time
shell = get_ipython()
direct = httpx.Client()
URL, CALLS, STREAM = {url!r}, {calls}, {stream}

def body(number):
    return {{"model": "instant", "messages": [{{"role": "user", "content": f"question {{number}} of {{os.getpid()}}"}}], "stream": STREAM}}

def by_httpx(number):
    if not STREAM:
        return direct.post(URL, json=body(number)).json()["choices"][0]["message"]["content"]
    pieces = []
    with direct.stream("POST", URL, json=body(number)) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: {{"):
                for choice in json.loads(line[6:])["choices"]:
                    pieces.append(choice["delta"].get("content") or "")
    return "".join(pieces)

def by_magic(number):
    shell.run_cell_magic("ai", "bench " + ("--stream" if STREAM else "--no-stream"), f"question {{number}} of {{os.getpid()}} {{STREAM}}")
    return shell.user_ns["_ai"]

for number in range(20):
    assert by_httpx(-number) == by_magic(-number - 1)
times, cpu = {{"httpx": [], "magic": []}}, {{"httpx": 0.0, "magic": 0.0}}
for number in range(CALLS):
    for name, call in (("httpx", by_httpx), ("magic", by_magic)) if number % 2 else (("magic", by_magic), ("httpx", by_httpx)):
        begun, used = time.perf_counter(), time.process_time()
        call(number)
        times[name].append(time.perf_counter() - begun)
        cpu[name] += time.process_time() - used
found = {{name: {{"median_ms": round(statistics.median(took) * 1000, 3), "p95_ms": round(sorted(took)[int(len(took) * 0.95)] * 1000, 3),
                  "kernel_cpu_ms": round(cpu[name] / CALLS * 1000, 3)}} for name, took in times.items()}}
found["ratio"] = round(statistics.median(times["magic"]) / statistics.median(times["httpx"]), 2)
"RESULT " + json.dumps(found)
"""

HIT = """
import json, statistics, time
shell = get_ipython()
shell.run_cell_magic("ai", "bench --quiet", "the same question")
took = []
for number in range({calls}):
    begun = time.perf_counter()
    shell.run_cell_magic("ai", "bench", "the same question")
    took.append(time.perf_counter() - begun)
    assert shell.user_ns["_ai"].response.cache == "hit"
"RESULT " + json.dumps({{"hit_median_ms": round(statistics.median(took) * 1000, 3)}})
"""

PROFILE = """
import cProfile, io, json, pstats
shell = get_ipython()
for number in range(20):
    shell.run_cell_magic("ai", "bench --no-stream", f"warm {{number}} up")
profile = cProfile.Profile()
profile.enable()
for number in range({calls}):
    shell.run_cell_magic("ai", "bench --no-stream", f"profiled {{number}}")
profile.disable()
said = io.StringIO()
pstats.Stats(profile, stream=said).sort_stats("cumulative").print_stats(45)
"RESULT " + json.dumps(said.getvalue())
"""

LOAD = """
import ipykernel.zmqshell, json, os, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("1 + 1", silent=True)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
modules, memory, begun = set(sys.modules), resident(), time.process_time()
shell.run_line_magic("load_ext", "aiplat_lab")
cpu = time.process_time() - begun
print(json.dumps({"cpu_ms": cpu * 1000, "rss_mb": (resident() - memory) / 1e6, "modules": len(set(sys.modules) - modules)}))
"""


@contextmanager
def kernel() -> Iterator[tuple[Any, FaultServer]]:
    """A kernel with the magic loaded and warm, its gateway, and the upstream."""
    from jupyter_client.manager import KernelManager

    with tempfile.TemporaryDirectory() as folder, FaultServer() as upstream:
        home = Home(Path(folder) / "home").create()
        home.settings_file.write_text(SETTINGS.format(url=upstream.openai_url), encoding="utf-8")
        dropped = {"CI", "AIPLAT_HEADLESS", "AIPLAT_GATEWAY", "AIPLAT_KEY"}
        env = {key: value for key, value in os.environ.items() if key not in dropped}
        env |= {"AIPLAT_HOME": str(home.path), "PYTHONPATH": str(ROOT), "IPYTHONDIR": folder}
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(env=env, cwd=folder)
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        try:
            run(client, "%load_ext aiplat_lab")
            run(client, "%%ai bench\nwarm up")
            yield client, upstream
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            connect(home, spawn=False).stop()


def run(client: Any, code: str) -> tuple[str, float]:
    """The text that a cell's last line gives, and when its first display came."""
    sent = client.execute(code)
    result, first = "", 0.0
    while True:
        message = client.get_iopub_msg(timeout=600)
        if message["parent_header"].get("msg_id") != sent:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "display_data" and not first:
            first = time.monotonic()
        elif kind == "execute_result":
            result = str(content["data"]["text/plain"])
        elif kind == "error":
            raise RuntimeError("\n".join(content["traceback"]))
        elif kind == "status" and content["execution_state"] == "idle":
            client.get_shell_msg(timeout=60)
            return result, first


def result_of(client: Any, code: str) -> Any:
    import ast

    return json.loads(ast.literal_eval(run(client, code)[0]).removeprefix("RESULT "))


def bench_load(calls: int) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "AIPLAT_HOME": folder, "IPYTHONDIR": folder, "PYTHONPATH": str(ROOT)}
        seen = [
            json.loads(subprocess.run([sys.executable, "-c", LOAD], env=env, capture_output=True, text=True, check=True).stdout)
            for _ in range(min(calls, 15))
        ]
    return {name: round(statistics.median(one[name] for one in seen), 2) for name in seen[0]} | {"runs": len(seen)}


def bench_warm(calls: int) -> Any:
    with kernel() as (client, upstream):
        url = f"{upstream.openai_url}/chat/completions"
        return {
            name: result_of(client, WARM.format(url=url, calls=calls, stream=stream))
            for name, stream in (("plain", False), ("streaming", True))
        }


def bench_first(calls: int) -> Any:
    delays = []
    with kernel() as (client, upstream):
        for number in range(min(calls, 20)):
            upstream.reset()
            _, shown = run(client, f"%%ai late --stream\nfirst {number}")
            delays.append((shown - upstream.requests[-1].at - 1.0) * 1000)
    return {"first_text_median_ms": round(statistics.median(delays), 1), "first_text_worst_ms": round(max(delays), 1), "calls": len(delays)}


def bench_hit(calls: int) -> Any:
    with kernel() as (client, upstream):
        found = result_of(client, HIT.format(calls=calls))
        return found | {"upstream_requests": sum("same question" in json.dumps(seen.body) for seen in upstream.requests)}


def bench_profile(calls: int) -> Any:
    with kernel() as (client, _):
        return result_of(client, PROFILE.format(calls=calls))


def bench_fuzz(calls: int) -> Any:
    from aiplat_lab.magic._interpolate import interpolate

    draw = random.Random(20261101)
    parts = [
        "{",
        "}",
        "{{",
        "}}",
        "{v}",
        "{w}",
        "{secret}",
        "{{secret}}",
        "{row[v]}",
        "{v.x}",
        "{v:>9}",
        "\\frac{",
        "$",
        "`",
        '"',
        "\n",
        "a",
        " ",
        "%",
        "💡",
    ]
    forms = ["{v}", "{v} {w}", '{"x": "{v}"}', "pre {row[v]} post", "{{v}} {w}", "{rows[0]}", "```\n{v}\n```", "{v!s}"]
    expanded = 0
    for _ in range(10_000):
        v, w = ("".join(draw.choices(parts, k=draw.randint(1, 12))) for _ in range(2))
        names = {"v": v, "w": w, "row": {"v": v}, "rows": [w], "secret": "LEAKED"}
        form = draw.choice(forms)
        marks = {"{{v}}": "\0", "{row[v]}": "\1", "{rows[0]}": "\2", "{v!s}": "\1", "{v}": "\1", "{w}": "\2"}
        marked = form
        for reference, mark in marks.items():
            marked = marked.replace(reference, mark)
        expected = "".join({"\0": "{v}", "\1": v, "\2": w}.get(sign, sign) for sign in marked)
        sent = interpolate(form, names).text
        expanded += sent != expected or "LEAKED" in sent
    return {"values": 20_000, "prompts": 10_000, "second_expansions": expanded}


BENCHES = {"load": bench_load, "warm": bench_warm, "first": bench_first, "hit": bench_hit, "profile": bench_profile, "fuzz": bench_fuzz}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=BENCHES)
    parser.add_argument("--calls", type=int, default=300)
    arguments = parser.parse_args()
    found = BENCHES[arguments.what](arguments.calls)
    print(found if isinstance(found, str) else json.dumps(found))
