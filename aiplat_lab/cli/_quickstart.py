"""`aiplat quickstart`: from an empty machine to a first real answer, without a question asked."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from aiplat_lab.cli._frame import Commands, command, home_of, local_client_of, say, show
from aiplat_lab.client import Client
from aiplat_lab.core.errors import ReportError
from aiplat_lab.core.settings import enter, shipped
from aiplat_lab.core.text import money, seconds
from aiplat_lab.core.types import Attribution, Response
from aiplat_lab.providers import weights

_REVIEW = "I waited three weeks and then got the wrong size."
_FIRST = (
    "Review: The delivery was quick and the box arrived in perfect shape.\nMood: positive\n\n"
    "Review: It broke after two days and nobody answered my mail.\nMood: negative\n\n"
    "Review: Great value, I would buy it again.\nMood: positive\n\n"
    f"Review: {_REVIEW}\nMood:"
)


def add(commands: Commands) -> None:
    """Adds `aiplat quickstart`."""
    quickstart = command(commands, "quickstart", _quickstart, "fetch the embedded model, make a first call, open JupyterLab on a tour")
    quickstart.add_argument("--headless", action="store_true", help="execute the tour instead of opening it, and write a cost report")
    quickstart.add_argument(
        "--out", type=Path, default=None, metavar="FOLDER", help="where --headless writes (default: quickstart/ in the home)"
    )
    quickstart.add_argument("--port", type=int, default=None, help="JupyterLab's port")


def _quickstart(arguments: argparse.Namespace) -> int:
    home = home_of(arguments).create()
    home.load()  # a mistake in the settings is told before anything is fetched
    say(f"1/4  the embedded model (SmolLM2-135M, about 93 MB, fetched once) → {home.models}")
    weights.pull("smollm2", home.models, source=None, progress=lambda line: say(f"     {line}"))
    say("2/4  the local gateway")
    client = local_client_of(arguments)
    status = client.status()
    say(f"     running as process {status['pid']}; SDK address {status['http']}/v1; home {home.path}")
    say("3/4  a first real call")
    begun = time.perf_counter()
    response = _first_call(client)
    say(f"     “{_REVIEW}” → {response.text.strip()}   ({_cost(response)}, {seconds(time.perf_counter() - begun)})")
    notebook = _notebook()
    say(f"4/4  the tour: {notebook}")
    if arguments.headless:
        _run_headless(arguments, client, notebook)
        _next_step(home.settings_file)
        return 0
    _next_step(home.settings_file)
    enter(home)  # the kernels of this JupyterLab use it too
    words = [sys.executable, "-m", "jupyterlab", str(notebook), *(["--port", str(arguments.port)] if arguments.port else [])]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--allow-root")  # in a container one is root; Jupyter would stop here and ask for this
    return subprocess.call(words)  # noqa: S603


def _first_call(client: Client) -> Response:
    return client.chat(
        _FIRST,
        model="smollm2",
        cache="refresh",
        attribution=Attribution(surface="cli"),
        completion=True,
        max_tokens=4,
        temperature=0,
        stop=["\n"],
    )


def _cost(response: Response) -> str:
    tokens = f"{response.usage.total_input_tokens} → {response.usage.total_output_tokens} tokens" if response.usage else "tokens unknown"
    return f"{response.response_model}, {tokens}, {money(response.cost_usd)}, call {response.call_id}"


def _notebook() -> Path:
    """The first steps in the working folder, with the tour and the other notebooks beside them: those that are there, or copies."""
    folder = Path.cwd() / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    for there in (*shipped("notebooks").glob("*.ipynb"), shipped("notebooks", "README.md")):
        if not (folder / there.name).exists():
            shutil.copyfile(there, folder / there.name)
    return folder / "quickstart.ipynb"


def _run_headless(arguments: argparse.Namespace, client: Client, notebook: Path) -> None:
    home = home_of(arguments)
    out = (arguments.out or home.path / "quickstart").expanduser().absolute()
    base = [sys.executable, "-m", "aiplat_lab.reports"]
    steps = (
        [*base, "execute", str(notebook), "--out", str(out / "quickstart.ipynb"), "--home", str(home.path)],
        [*base, "run", "cost", "--since", "today", "--out", str(out / "cost"), "--home", str(home.path)],
    )
    for step in steps:
        done = subprocess.run(step, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise ReportError(
                f"the tour did not run to its end; the message above says why. Try `aiplat doctor`. ({done.stdout.strip()[-200:]})"
            )
    totals = client.view_rows("totals")[0]
    result = {
        "notebook": str(out / "quickstart.ipynb"),
        "report": str(out / "cost" / "report.html"),
        "calls": totals["calls"],
        "cost": money(totals["cost_usd"]),
        "saved_by_cache": money(totals["saved_usd"]),
    }
    if arguments.json:
        show(arguments, [result])
    else:
        for name, value in result.items():
            print(f"{name.replace('_', ' '):>15}  {value}")


def _next_step(settings_file: Path) -> None:
    lines = '[providers.openai]\\nkind = "openai"\\napi_key = "env:OPENAI_API_KEY"\\n'
    say(f"next: your own provider in one line:  printf '{lines}' >> '{settings_file}' && aiplat stop   then use %%ai openai/gpt-5-mini")
