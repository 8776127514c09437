"""The command line as a person uses it: in this process, or as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aiplat_lab import cli


@dataclass
class Said:
    """What one command gave."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What `--json` printed: always an array of objects, and nothing beside it."""
        found = json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert isinstance(found, list) and all(isinstance(row, dict) for row in found)
        return found

    def complains(self, code: int, *words: str) -> None:
        """One line on standard error, short, with these words, and no traceback."""
        assert self.code == code, (self.out, self.err)
        lines = [line for line in self.err.strip().splitlines() if line.startswith("aiplat")]
        assert len(lines) == 1 and lines == self.err.strip().splitlines()[-1:], self.err
        assert len(lines[0].encode()) <= 800 and "Traceback" not in self.err + self.out
        for word in words:
            assert word in lines[0], (word, lines[0])


class Line:
    """Runs commands for one home, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], home: Path) -> None:
        self._capsys = capsys
        self.home = home

    def __call__(self, *words: str) -> Said:
        self._capsys.readouterr()
        try:
            code = cli.main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)  # type: ignore[arg-type]
        out, err = self._capsys.readouterr()
        return Said(code, out, err)


def process(home: Path, *words: str, **options: Any) -> Said:
    """Runs a command as a process of its own, with Python's usual buffering."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment |= {"AIPLAT_HOME": str(home), **options.pop("env", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, **options}
    done = subprocess.run([sys.executable, "-m", "aiplat_lab.cli", *words], env=environment, text=True, check=False, **options)
    return Said(done.returncode, done.stdout or "", done.stderr or "")
