"""`%load_ext aiplat_lab`: light, silent, and in touch with nobody."""

from __future__ import annotations

import json
import subprocess
import sys

from aiplat_lab.core.settings import Home

HEAVY = ("httpx", "duckdb", "polars", "pandas", "altair", "panel", "papermill", "ipywidgets")

LOAD = """
import ipykernel.zmqshell, json, os, socket, sys, time
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.run_cell("1 + 1", silent=True)

def connect(self, address):
    raise SystemExit(f"something was contacted: {address}")

socket.socket.connect = connect

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

before, memory, begun = set(sys.modules), resident(), time.process_time()
shell.run_line_magic("load_ext", "aiplat_lab")
cpu = time.process_time() - begun
grown = resident() - memory
again = time.process_time()
shell.run_line_magic("reload_ext", "aiplat_lab")
print(json.dumps({
    "cpu_ms": cpu * 1000,
    "rss_mb": grown / 1e6,
    "modules": sorted(set(sys.modules) - before),
    "magics": ["ai" in shell.magics_manager.magics[kind] for kind in ("line", "cell")],
    "config": sorted(trait for trait in shell.magics_manager.registry["AiMagics"].class_trait_names(config=True)),
    "home": os.listdir(os.environ["AIPLAT_HOME"]),
}))
"""


def test_loading_is_light_and_contacts_nobody(home: Home) -> None:
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1, "loading prints nothing of its own"
    seen = json.loads(done.stdout)
    assert seen["magics"] == [True, True]
    assert not [name for name in seen["modules"] if name.split(".")[0] in HEAVY]
    assert len(seen["modules"]) <= 60
    assert seen["cpu_ms"] <= 50, seen["cpu_ms"]
    assert seen["rss_mb"] <= 5, seen["rss_mb"]
    assert {"aliases", "default_language_model", "initial_aliases", "initial_language_model", "max_history"} <= set(seen["config"])
    assert not [name for name in seen["home"] if name.startswith("gateway")], "no gateway is started by loading"
