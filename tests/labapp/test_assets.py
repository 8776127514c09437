"""The built front end in the tree is the one that its sources give, and says the package's version."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from pathlib import Path

import pytest

from aiplat_lab.core.text import money, seconds
from aiplat_lab.core.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "labextension"
BUILT = ROOT / "aiplat_lab" / "labextension"
FIGURES = json.loads((SOURCES / "tests" / "figures.json").read_text())


def digest_of_sources() -> str:
    """What `labextension/scripts/sources.mjs` writes beside the assets."""
    files = [path for folder in ("schema", "src", "style") for path in (SOURCES / folder).rglob("*") if path.is_file()]
    files += [SOURCES / name for name in ("package-lock.json", "package.json", "tsconfig.json")]
    names = sorted(path.relative_to(SOURCES).as_posix() for path in files)
    lines = "".join(f"{hashlib.sha256((SOURCES / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def test_the_built_front_end_is_not_stale() -> None:
    said = (BUILT / "sources.sha256").read_text().strip()
    assert said == digest_of_sources(), "the front end is older than its sources: run `npm run build:prod` in labextension/, and commit"


def test_the_front_end_has_the_version_of_the_package() -> None:
    for file in (SOURCES / "package.json", SOURCES / "package-lock.json", BUILT / "package.json"):
        assert json.loads(file.read_text())["version"] == VERSION, file


def test_the_built_package_names_files_that_are_there() -> None:
    build = json.loads((BUILT / "package.json").read_text())["jupyterlab"]["_build"]
    assert (BUILT / build["load"]).is_file()
    assert (BUILT / "schemas" / "aiplat-lab" / "plugin.json").is_file()


def test_the_lock_names_no_address() -> None:
    assert '"resolved"' not in (SOURCES / "package-lock.json").read_text()


def test_the_built_front_end_asks_nobody() -> None:
    """No asset names a host that a browser would contact; licences and the names of XML languages are not requests."""
    for file in (BUILT / "static").glob("*.js"):
        text = file.read_text()
        for harmless in ("http://www.w3.org/", "https://reactjs.org/docs/error-decoder.html", "https://react.dev/errors/"):
            text = text.replace(harmless, "")
        assert "http://" not in text and "https://" not in text, file


@pytest.mark.parametrize("case", FIGURES["money"], ids=lambda case: case["shown"])
def test_money_reads_the_same_in_the_front_end(case: dict[str, str | None]) -> None:
    usd = None if case["usd"] is None else Decimal(case["usd"])
    assert money(usd, currency=str(case["currency"]), rate=Decimal(str(case["rate"]))) == case["shown"]


@pytest.mark.parametrize("case", FIGURES["seconds"], ids=lambda case: case["shown"])
def test_times_read_the_same_in_the_front_end(case: dict[str, float | None]) -> None:
    assert seconds(case["value"]) == case["shown"]
