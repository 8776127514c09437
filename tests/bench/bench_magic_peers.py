"""`%%ai` beside the magics of jupyter-ai 2.31 and jupyter-ai-magic-commands 0.0.4, in one run, each in a kernel of its own.

    python tests/bench/bench_magic_peers.py                    # every figure of ours and of both peers
    python tests/bench/bench_magic_peers.py --only ours,bare   # without the peers; `bare`: ours in a kernel with nothing but IPython
    python tests/bench/bench_magic_peers.py --calls 200        # calls of a kind, in turn with keep-alive httpx straight upstream

The peers are fetched into `~/.cache/aiplat-tests/peers` the first time. All speak to the tests' fault server in a process of its
own; ours goes through its gateway, which records each call and holds it against a budget, as theirs do not. Prints one JSON object
a magic, then a table. Processor times and ratios can be compared between machines, times of a clock within one run only.

| figure | how it is taken |
| --- | --- |
| load | processor time, memory, modules and addresses contacted by `%load_ext` in a fresh IPython; the median of `--loads` |
| first | processor time of the first call beyond loading |
| warm | median time of a call ÷ that of keep-alive httpx to the same upstream in the same kernel; processor time of the kernel a call |
| text | from the upstream's first chunk to the first text on the front end's channel; displays a second of a stream |
| errors | the longest of what five failures put on the front end's channel; how many of five scenarios fail the cell headless |
| interrupt | in the middle of an answer: until the cell is back, processor time of it, text kept |
| size | distributions beyond IPython's and their files |
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

from bench_magic import result_of  # noqa: E402
from faults import FaultServer  # noqa: E402
from peerkit import kernel_venv  # noqa: E402

from aiplat_lab.client import connect  # noqa: E402
from aiplat_lab.core.settings import Home  # noqa: E402


@dataclass(frozen=True)
class Magic:
    """One magic, and how it is asked for a model of the upstream."""

    name: str
    venv: str
    extension: str
    model: str
    """With a `{}` for the model's name at the upstream."""
    prepare: str = ""
    fresh: str = ""


ALIASES = (
    "_magics = next(m for n, m in get_ipython().magics_manager.registry.items() if n == 'AiMagics')\n"
    "for _name in {names!r}:\n"
    "    _magics.aliases[_name] = {{'target': 'openai/' + _name, 'api_base': {url!r}, 'api_key_name': None}}\n"
)
NAMES = ("instant", "status-401", "status-500", "status-429-no-header", "hang", "slow-stream", "slow-first-1s")
SETTINGS = """
[providers.up]
kind = "openai"
base_url = "{url}"
retries = 0
breaker_failures = 0
[[budgets]]
limit_usd = 1000.0
period = "month"
"""
MODEL = """
[models.{name}]
deployments = [{{ provider = "up", model = "{name}", input_usd_per_mtok = 1, output_usd_per_mtok = 4 }}]
"""
MAGICS = {
    "ours": Magic("aiplat-lab", "", "aiplat_lab", "{}", fresh="--fresh"),
    "bare": Magic("aiplat-lab, IPython alone", "bare", "aiplat_lab", "{}", fresh="--fresh"),
    "v2": Magic("jupyter-ai 2.31.7", "jupyterai2", "jupyter_ai_magics", "openai-chat-custom:{}"),
    "v3": Magic("jupyter-ai-magic-commands 0.0.4", "jupyterai3", "jupyter_ai_magic_commands", "{}", prepare=ALIASES),
}

LOAD = """
import json, os, sys, time
import ipykernel.zmqshell
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("1 + 1", silent=True)
contacts = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        contacts.append(str(arguments[1] if event == "socket.connect" else arguments[0]))
sys.addaudithook(watch)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
modules, memory, begun = set(sys.modules), resident(), time.process_time()
shell.run_line_magic("load_ext", NAME)
cpu = time.process_time() - begun
found = {"cpu_ms": cpu * 1000, "rss_mb": (resident() - memory) / 1e6, "modules": len(set(sys.modules) - modules)}
time.sleep(0.5)
print("RESULT " + json.dumps(found | {"contacts": len(contacts), "asked": sorted(set(contacts))[:3]}))
"""
FIRST = """
import json, time
shell = get_ipython()
begun = time.process_time()
shell.run_cell_magic("ai", {line!r}, "the first question")
"RESULT " + json.dumps({{"first_call_cpu_ms": round((time.process_time() - begun) * 1000, 1)}})
"""
WARM = """
import http.client, json, os, statistics, time
from IPython.display import display
from urllib.parse import urlsplit
shell = get_ipython()
URL, CALLS, HTTPX = {url!r}, {calls}, {httpx}
def body(number):
    return {{"model": "instant", "messages": [{{"role": "user", "content": f"question {{number}} of {{os.getpid()}}"}}]}}
if HTTPX:
    import httpx
    direct = httpx.Client()
    def plain(number):
        return direct.post(URL, json=body(number)).json()["choices"][0]["message"]["content"]
else:
    wire = http.client.HTTPConnection(urlsplit(URL).netloc)
    def plain(number):
        wire.request("POST", urlsplit(URL).path, json.dumps(body(number)), {{"Content-Type": "application/json"}})
        return json.loads(wire.getresponse().read())["choices"][0]["message"]["content"]
def magic(number):
    shown = shell.run_cell_magic("ai", {line!r}, f"question {{number}} of {{os.getpid()}}")
    if shown is not None:
        display(shown)
for number in range(15):
    plain(-number), magic(-number)
times, cpu = {{"plain": [], "magic": []}}, {{"plain": 0.0, "magic": 0.0}}
for number in range(CALLS):
    for name, call in (("plain", plain), ("magic", magic)) if number % 2 else (("magic", magic), ("plain", plain)):
        begun, used = time.perf_counter(), time.process_time()
        call(number)
        times[name].append(time.perf_counter() - begun)
        cpu[name] += time.process_time() - used
middle = {{name: statistics.median(took) for name, took in times.items()}}
"RESULT " + json.dumps({{"warm_ms": round(middle["magic"] * 1000, 2), "plain_ms": round(middle["plain"] * 1000, 2),
    "warm_ratio": round(middle["magic"] / middle["plain"], 2), "plain_by": "httpx" if HTTPX else "http.client",
    "kernel_cpu_ms": round(cpu["magic"] / CALLS * 1000, 2), "plain_cpu_ms": round(cpu["plain"] / CALLS * 1000, 2)}})
"""
FAILING = ("status-401", "status-500", "status-429-no-header")


@contextmanager
def kernel(magic: Magic, python: Path, upstream: FaultServer) -> Iterator[Any]:
    """A kernel of that magic's environment, with the magic loaded; of ours with a gateway of its own."""
    from jupyter_client.manager import KernelManager

    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home").create()
        models = "".join(MODEL.format(name=name) for name in NAMES)
        home.settings_file.write_text(SETTINGS.format(url=upstream.openai_url) + models, encoding="utf-8")
        kept = {"PATH", "LANG", "HOME", "TMPDIR"}
        env = {key: value for key, value in os.environ.items() if key in kept}
        env |= {"AIPLAT_HOME": str(home.path), "IPYTHONDIR": folder, "OPENAI_API_KEY": "sk-upstream-0123456789"}
        env |= {"OPENAI_API_BASE": upstream.openai_url, "OPENAI_BASE_URL": upstream.openai_url}
        env["PYTHONPATH"] = str(ROOT) if magic.extension == "aiplat_lab" else ""
        if magic.venv == "bare":  # the platform runs elsewhere; here is the kernel's side alone
            with connect(home) as starter:
                starter.status()
        manager = KernelManager(kernel_name="python3")
        manager.kernel_spec.argv[:1] = [str(python)]
        manager.start_kernel(env=env, cwd=folder)
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=120)
        try:
            yield manager, client
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            if home.gateway_file.exists():
                connect(home, spawn=False).stop()


def seen(client: Any, code: str, *, headless: bool = False, on_message: Any = None) -> tuple[str, list[tuple[float, str, Any]]]:
    """How a cell ended, and what it put on the front end's channel and when."""
    sent = client.execute(code, allow_stdin=not headless)
    messages = []
    while True:
        message = client.get_iopub_msg(timeout=300)
        if message["parent_header"].get("msg_id") != sent:
            continue
        kind = message["msg_type"]
        messages.append((time.monotonic(), kind, message["content"]))
        if on_message is not None:
            on_message(kind)
        if kind == "status" and message["content"]["execution_state"] == "idle":
            while (reply := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != sent:
                pass  # of an earlier request, such as one that asked whether the kernel is ready
            return str(reply["content"]["status"]), messages


def texts(messages: list[tuple[float, str, Any]]) -> list[tuple[float, str]]:
    kinds = {"display_data", "update_display_data", "execute_result"}
    return [(when, json.dumps(content["data"])) for when, kind, content in messages if kind in kinds]


def bench_load(magic: Magic, python: Path, loads: int) -> dict[str, Any]:
    runs = []
    for _ in range(loads):
        with tempfile.TemporaryDirectory() as folder:
            env = {"PATH": os.environ["PATH"], "HOME": folder, "AIPLAT_HOME": folder, "IPYTHONDIR": folder}
            env["PYTHONPATH"] = str(ROOT) if magic.extension == "aiplat_lab" else ""
            done = subprocess.run(
                [python, "-c", LOAD.replace("NAME", repr(magic.extension))], env=env, capture_output=True, text=True, check=True, cwd=folder
            )
            line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
            runs.append(json.loads(line.removeprefix("RESULT ")) | {"printed": len(done.stderr)})
    found = {f"load_{name}": round(statistics.median(one[name] for one in runs), 1) for name in ("cpu_ms", "rss_mb", "modules", "contacts")}
    return found | {"load_asked": runs[-1]["asked"], "load_prints_bytes": runs[-1]["printed"]}


def bench_text(client: Any, upstream: FaultServer, magic: Magic) -> dict[str, Any]:
    delays, rate = [], 0.0
    for number in range(5):
        upstream.reset()
        _, messages = seen(client, f"%%ai {magic.model.format('slow-first-1s')} {magic.fresh}\nfirst {number}")
        found = texts(messages)
        asked = upstream.requests[-1]
        delays.append((found[0][0] - asked.at - 1.0) * 1000 if found and asked.body.get("stream") else None)
    upstream.reset()
    begun = time.monotonic()
    _, messages = seen(client, f"%%ai {magic.model.format('slow-stream')} {magic.fresh}\ncount")
    found = texts(messages)
    rate = (len(found) - 1) / max(found[-1][0] - found[0][0], 1e-9) if len(found) > 1 else 0.0
    told = [delay for delay in delays if delay is not None]
    return {
        "first_text_ms": round(statistics.median(told), 1) if told else "at the end",
        "displays_a_second": round(rate, 1),
        "stream_took_s": round(time.monotonic() - begun, 1),
    }


def bench_errors(client: Any, upstream: FaultServer, magic: Magic) -> dict[str, Any]:
    cells = [f"%%ai {magic.model.format(name)} {magic.fresh}\nx" for name in FAILING]
    cells += ["%%ai nobody/nothing\nx", f"%%ai {magic.model.format('instant')}\nDear {{nobody_of_that_name}}"]
    sizes, failed = [], 0
    for cell in cells:
        status, messages = seen(client, cell, headless=True)
        failed += status == "error"
        said = ["\n".join(content["traceback"]) for _, kind, content in messages if kind == "error"]
        said += [content["text"] for _, kind, content in messages if kind == "stream"]
        sizes.append(sum(len(text.encode()) for text in said))
    if upstream.requests == []:
        raise RuntimeError("nothing reached the upstream")
    return {"error_bytes": max(sizes), "fail_the_cell": f"{failed} of {len(cells)}"}


def bench_interrupt(manager: Any, client: Any, upstream: FaultServer, magic: Magic, times: int) -> dict[str, Any]:
    process = psutil.Process(manager.provisioner.pid)
    back, cpu, kept, closed, said = [], [], 0, [], 0
    for number in range(times):
        upstream.reset()
        model = "slow-stream" if magic.extension == "aiplat_lab" else "hang"  # theirs wait for the whole answer
        sent = client.execute(f"%%ai {magic.model.format(model)} {magic.fresh}\nx {number}")
        upstream.wait_for(lambda: upstream.requests, 20)
        time.sleep(1.5)
        used, begun = sum(process.cpu_times()[:2]), time.monotonic()
        manager.interrupt_kernel()
        messages = []
        while True:
            message = client.get_iopub_msg(timeout=300)
            if message["parent_header"].get("msg_id") == sent:
                messages.append((time.monotonic(), message["msg_type"], message["content"]))
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    break
        back.append(time.monotonic() - begun)
        cpu.append(sum(process.cpu_times()[:2]) - used)
        client.get_shell_msg(timeout=60)
        upstream.wait_for(lambda: upstream.disconnects, 5)
        closed += [upstream.disconnects[0] - begun] if upstream.disconnects else []
        said = max([said, *(len("\n".join(content["traceback"]).encode()) for _, kind, content in messages if kind == "error")])
        kept += any("one two three" in text for _, text in texts(messages))
    return {
        "interrupt_back_s": round(statistics.median(back), 3),
        "interrupt_worst_s": round(max(back), 3),
        "interrupt_cpu_s": round(statistics.median(cpu), 3),
        "interrupt_upstream_closed_s": round(statistics.median(closed), 3) if closed else "never",
        "interrupt_error_bytes": said,
        "interrupt_kept_text": f"{kept} of {times}",
    }


SIZE = """
import importlib.metadata as meta, json, os, re
def plain(name):
    return re.split(r"[^A-Za-z0-9._-]", name.strip(), maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")
base, wanted = {"pip", "setuptools"}, ["ipykernel"]
while wanted:
    name = wanted.pop()
    if name not in base:
        base.add(name)
        try:
            wanted += [plain(need) for need in meta.requires(name) or () if "extra ==" not in need]
        except meta.PackageNotFoundError:
            pass
more, size = set(), 0
for one in meta.distributions():
    name = plain(one.metadata["Name"])
    if name not in base and name not in more:
        more.add(name)
        files = [one.locate_file(file) for file in one.files or () if file.suffix != ".pyc"]
        size += sum(os.path.getsize(file) for file in files if os.path.exists(file))
print(json.dumps({"beyond_ipython_packages": len(more), "beyond_ipython_mb": round(size / 1e6, 1)}))
"""


def bench_size(magic: Magic, python: Path) -> dict[str, Any]:
    if magic.venv != "bare" and magic.extension == "aiplat_lab":
        return {}  # the platform with its gateway, JupyterLab and dashboards is in this environment
    done = subprocess.run([python, "-c", SIZE], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    found: dict[str, Any] = json.loads(done.stdout)
    if magic.venv == "bare":  # and our own package, which is taken from the tree
        tree = [file for file in (ROOT / "aiplat_lab").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
        found["beyond_ipython_packages"] += 1
        found["beyond_ipython_mb"] = round(found["beyond_ipython_mb"] + sum(file.stat().st_size for file in tree) / 1e6, 1)
    return found


def bench(magic: Magic, arguments: argparse.Namespace) -> dict[str, Any]:
    python = kernel_venv(magic.venv) if magic.venv else Path(sys.executable)
    found: dict[str, Any] = {"magic": magic.name, **bench_load(magic, python, arguments.loads), **bench_size(magic, python)}
    line = f"{magic.model.format('instant')} {magic.fresh} {'--no-stream' if magic.extension == 'aiplat_lab' else ''}".strip()
    with FaultServer() as upstream, kernel(magic, python, upstream) as (manager, client):
        seen(client, f"%load_ext {magic.extension}")
        if magic.prepare:
            seen(client, magic.prepare.format(names=NAMES, url=upstream.openai_url))
        found |= result_of(client, FIRST.format(line=line))
        url = f"{upstream.openai_url}/chat/completions"
        found |= result_of(client, WARM.format(url=url, calls=arguments.calls, line=line, httpx=magic.venv != "bare"))
        found["warm_calls_upstream"] = sum(one.model == "instant" for one in upstream.requests)
        found |= bench_text(client, upstream, magic)
        found |= bench_errors(client, upstream, magic)
        found |= bench_interrupt(manager, client, upstream, magic, arguments.interrupts)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(MAGICS), help="which magics, by comma")
    parser.add_argument("--calls", type=int, default=150)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--interrupts", type=int, default=5)
    arguments = parser.parse_args()
    rows = []
    for name in arguments.only.split(","):
        rows.append(bench(MAGICS[name], arguments))
        print(json.dumps(rows[-1]), flush=True)
    print("\n| figure | " + " | ".join(row["magic"] for row in rows) + " |\n" + "| --- " * (len(rows) + 1) + "|")
    for key in dict.fromkeys(key for row in rows for key in row if key != "magic"):
        print(f"| {key} | " + " | ".join(str(row.get(key, "–")) for row in rows) + " |")
