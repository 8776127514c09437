"""The launch environment, built as binder builds it: a new virtual environment, `postBuild`, and the tour in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_packaging import checkout

__all__ = ["checkout"]


@pytest.fixture(scope="module")
def launched(checkout: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A new virtual environment after `binder/postBuild`, and the environment variables to use it."""
    folder = tmp_path_factory.mktemp("binder")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIPLAT_", "JUPYTER", "PYTHON"))}
    variables = {
        **kept,
        "PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "AIPLAT_HOME": str(folder / "home"),
        "AIPLAT_MODELS": str(weights),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    done = subprocess.run(
        ["bash", "binder/postBuild"], cwd=checkout, env=variables, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder, variables


@pytest.mark.slow
@pytest.mark.local_model
@pytest.mark.timeout(1200)
def test_the_tour_runs_in_a_new_environment(launched: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    _, variables = launched
    begun = time.monotonic()
    done = subprocess.run(
        ["aiplat", "quickstart", "--headless", "--json", "--out", str(tmp_path / "out")],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    subprocess.run(["aiplat", "stop"], env=variables, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (row,) = json.loads(done.stdout)
    assert row["calls"] > 3
    assert Path(row["report"]).is_file()
    assert (tmp_path / "out" / "cost" / "report.pdf").read_bytes().startswith(b"%PDF")
    assert time.monotonic() - begun < 300
