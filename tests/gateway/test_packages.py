"""What the gateway alone needs at run time: few packages, and none that holds every key of everybody else too."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import aiplat_lab

PARTS = ("core", "ledger", "policies", "providers", "prices", "gateway")
EXTRAS = {"cryptography", "keyring", "presidio_analyzer", "spacy", "xllamacpp", "opentelemetry", "google"}
"""Imported where a setting asks for them."""
MOST = 12


def imported(folder: Path) -> set[str]:
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"aiplat_lab"}


def test_the_gateway_needs_few_packages() -> None:
    package = Path(aiplat_lab.__file__).parent
    needed = set().union(*(imported(package / part) for part in PARTS)) - EXTRAS
    assert needed <= {"aiohttp", "duckdb", "genai_prices", "httpx", "httpx_aiohttp", "numpy", "polars", "yarl"}
    assert len(needed) <= MOST


def test_litellm_is_nowhere() -> None:
    package = Path(aiplat_lab.__file__).parent
    assert "litellm" not in imported(package)
    project = (package.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert "litellm" not in project.lower().replace("litellm_", "")
