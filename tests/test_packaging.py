"""What is in the wheel, and that the one built from the source distribution is the same."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from aiplat_lab.core.version import VERSION

ROOT = Path(__file__).resolve().parent.parent


def _build(*words: str | Path) -> None:
    done = subprocess.run([sys.executable, "-m", "build", "--no-isolation", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of what git knows here, and of what it would take in."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    for name in listed.decode().split("\0"):
        source = ROOT / name
        if name and source.is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    return folder


@pytest.fixture(scope="module")
def dist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    _build("--sdist", "--outdir", folder, checkout)
    unpacked = tmp_path_factory.mktemp("sdist")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(unpacked, filter="data")
    _build("--wheel", "--outdir", folder, next(unpacked.iterdir()))
    return folder


@pytest.mark.slow
def test_the_wheel_holds_everything_once(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert len(names) == len(set(names))
    data = f"aiplat_lab-{VERSION}.data/data"
    for wanted in (
        "aiplat_lab/_shipped/notebooks/quickstart.ipynb",
        "aiplat_lab/_shipped/notebooks/tour.ipynb",
        "aiplat_lab/_shipped/notebooks/reports/cost.ipynb",
        "aiplat_lab/_shipped/notebooks/reports/compliance.ipynb",
        "aiplat_lab/_shipped/evalsets/ticket-classification/data.jsonl",
        "aiplat_lab/prompts/library/summarise.prompt.md",
        "aiplat_lab/widgets/live.js",
        "aiplat_lab/widgets/marks.js",
        "aiplat_lab/widgets/review.js",
        "aiplat_lab/widgets/review.css",
        "aiplat_lab/widgets/skin.css",
        "aiplat_lab/reports/report.typ",
        "aiplat_lab/reports/report.css",
        "aiplat_lab/reports/fonts/Inter-Regular.otf",
        "aiplat_lab/reports/fonts/OFL.txt",
        "aiplat_lab/py.typed",
        f"{data}/share/jupyter/labextensions/aiplat-lab/package.json",
        f"{data}/share/jupyter/labextensions/aiplat-lab/install.json",
        f"{data}/etc/jupyter/jupyter_server_config.d/aiplat_lab.json",
    ):
        assert wanted in names
    assert [name for name in names if "/evalsets/" in name]
    assert sum("remoteEntry" in name and name.endswith(".js") for name in names) == 1
    assert not [name for name in names if "node_modules" in name or name.startswith("tests/")]


@pytest.mark.slow
def test_the_wheel_from_the_source_distribution_is_the_wheel_from_the_checkout(checkout: Path, dist: Path, tmp_path: Path) -> None:
    _build("--wheel", "--outdir", tmp_path, checkout)
    contents = []
    for folder in (dist, tmp_path):
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            contents.append({name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/RECORD")})
    assert contents[0] == contents[1]


def test_the_front_end_has_the_same_version() -> None:
    assert json.loads((ROOT / "labextension" / "package.json").read_text())["version"] == VERSION


def test_lock_files_record_no_download_addresses() -> None:
    for lock in ROOT.glob("labextension/package-lock.json"):
        assert '"resolved"' not in lock.read_text()


def test_importing_the_package_loads_next_to_nothing() -> None:
    heavy = ("httpx", "duckdb", "polars", "pandas", "altair", "panel", "papermill", "ipywidgets", "aiohttp", "numpy", "IPython")
    program = f"""import sys
before = set(sys.modules)
import aiplat_lab
print([name for name in {heavy} if name in sys.modules], len(set(sys.modules) - before))"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    found, count = done.stdout.strip().rsplit(" ", 1)
    assert found == "[]"
    assert int(count) < 60  # what the interpreter itself needs for the lazy look-up


def test_what_is_exported_is_there() -> None:
    import aiplat_lab

    for name in aiplat_lab.__all__:
        assert getattr(aiplat_lab, name) is not None
    assert dir(aiplat_lab) == sorted(aiplat_lab.__all__)
    with pytest.raises(AttributeError):
        _ = aiplat_lab.nothing_of_that_name
