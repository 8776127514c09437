"""`aiplat doctor`: what works on this machine, each line proved by doing it."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from aiplat_lab.cli._frame import Commands, command, home_of, local_client_of
from aiplat_lab.client import Client
from aiplat_lab.core.errors import AiplatError
from aiplat_lab.core.text import money
from aiplat_lab.core.types import Attribution

_LEAST_FREE_BYTES = 500_000_000
_PROBE = "Review: The delivery was quick and the staff were kind.\nFeeling: positive\n\nReview: It broke on the first day.\nFeeling:"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report."""

    check: str
    result: str
    """`ok`, `failed`, or `not checked`."""
    detail: str


def add(commands: Commands) -> None:
    """Adds `aiplat doctor`."""
    doctor = command(commands, "doctor", _doctor, "prove that each part works; exit code 1 when one does not")
    doctor.add_argument("--model", action="append", metavar="NAME", help="also call this model (default: the default model alone)")


@contextmanager
def _watched(checks: list[Check], name: str) -> Iterator[Callable[[str], None]]:
    """Adds one check: what its body says, or the error that ended it."""
    said: list[str] = []
    try:
        yield said.append
    except AiplatError as error:
        checks.append(Check(name, "failed", error.message))
    else:
        checks.append(Check(name, "ok", "; ".join(said)))


def _doctor(arguments: argparse.Namespace) -> int:
    home, checks = home_of(arguments), list[Check]()
    checks.append(Check("Python", "ok", f"{sys.version.split()[0]} at {sys.prefix}"))
    with _watched(checks, "home") as say:
        home.create()
        free = shutil.disk_usage(home.path).free
        say(f"{home.path}, {free / 1e9:.0f} GB free")
    if checks[-1].result == "ok" and free < _LEAST_FREE_BYTES:
        checks[-1] = Check("home", "failed", f"{home.path} has {free / 1e6:.0f} MB free; make room, since every call is written there")
    with _watched(checks, "settings") as say:
        settings = home.load()
        source = home.settings_file if home.settings_file.exists() else "built-in"
        say(f"{source}: {len(settings.models)} models, {len(settings.budgets)} budgets")
    if all(check.result == "ok" for check in checks):
        _check_gateway(checks, local_client_of(arguments), arguments.model or [settings.default_model])
    checks.extend(_check_installation())
    if arguments.json:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            print(f"{'✓' if check.result == 'ok' else '✗' if check.result == 'failed' else '·'} {check.check:<22} {check.detail}")
    return int(any(check.result == "failed" for check in checks))


def _check_gateway(checks: list[Check], client: Client, models: list[str]) -> None:
    with _watched(checks, "gateway") as say:
        status = client.status()
        say(f"version {status['version']}, process {status['pid']}, SDK address {status['http']}/v1")
    if checks[-1].result != "ok":
        return
    with _watched(checks, "ledger") as say:
        result = client.verify()
        say(f"{result['rows']:,} rows, the chain {'holds' if result['ok'] else 'is broken'}")
        if not result["ok"]:
            raise AiplatError(f"the chain is broken at row {result['first_bad_seq']}: {result['reason']}")
    for model in models:
        with _watched(checks, f"model {model}") as say:
            say(_generate(client, model))
    for entry in client.models():
        if entry["name"] not in models:
            checks.append(Check(f"model {entry['name']}", "not checked", f"aiplat doctor --model {entry['name']} calls it"))


def _generate(client: Client, model: str) -> str:
    """Asks the model for a few tokens and says what came; a model is fine only when it has written something."""
    begun = time.perf_counter()
    settings = {"max_tokens": 8, "temperature": 0, **({"completion": True} if model.startswith("smollm2") else {})}
    response = client.chat(_PROBE, model=model, cache="off", attribution=Attribution(surface="cli"), **settings)
    tokens = response.usage.total_output_tokens if response.usage else 0
    if not response.text.strip() and not tokens:
        raise AiplatError(f"{model} answered without a single token")
    took = time.perf_counter() - begun
    return f"wrote {tokens or 'some'} tokens in {took:.1f} s for {money(response.cost_usd)}, call {response.call_id}"


def _check_installation() -> Iterator[Check]:
    extension = Path(sys.prefix, "share", "jupyter", "labextensions", "aiplat-lab", "package.json")
    yield Check(
        "JupyterLab extension",
        "ok" if extension.exists() else "failed",
        str(extension.parent) if extension.exists() else "not installed: pip install --force-reinstall --no-deps aiplat-lab",
    )
    for name, module, extra in (
        ("PDF reports", "typst", "reports"),
        ("charts in reports", "vl_convert", "reports"),
        ("embedded model", "xllamacpp", "local"),
    ):
        found = find_spec(module) is not None
        yield Check(name, "ok" if found else "not checked", "installed" if found else f'pip install "aiplat-lab[{extra}]"')
