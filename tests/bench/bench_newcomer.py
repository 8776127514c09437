"""From an empty virtual environment to a first real answer, as the README's first command goes.

    python tests/bench/bench_newcomer.py [--models FOLDER]

Prints the seconds of each step: the virtual environment, the install of this checkout with `[local,reports]`, the weights, and
the first answer of the embedded model through the gateway, recorded. With `--models` the weights there are used.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ASK = """
import aiplat_lab
answer = aiplat_lab.chat("Review: It broke after two days.\\nMood: negative\\n\\nReview: I would buy it again.\\nMood:",
                         model="smollm2", completion=True, max_tokens=3, temperature=0, stop=["\\n"])
print(answer.text.strip(), answer.call_id)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="newcomer-") as name:
        folder = Path(name)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AIPLAT_", "PYTHON", "VIRTUAL_ENV"))}
        variables = {**kept, "AIPLAT_HOME": str(folder / "home"), "AIPLAT_MODELS": str(given.models or folder / "models")}
        binaries = folder / "venv" / "bin"
        steps: list[tuple[str, list[str]]] = [
            ("virtual environment", [sys.executable, "-m", "venv", "--upgrade-deps", str(folder / "venv")]),
            ("pip install .[local,reports]", [str(binaries / "pip"), "install", "-q", "--no-compile", f"{ROOT}[local,reports]"]),
            ("weights", [str(binaries / "aiplat"), "model", "pull", "smollm2"]),
            ("first real answer", [str(binaries / "python"), "-c", ASK]),
        ]
        total = 0.0
        for label, command in steps:
            begun = time.perf_counter()
            done = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=False)
            took = time.perf_counter() - begun
            total += took
            if done.returncode:
                raise SystemExit(f"{label} failed: {done.stderr[-1500:]}")
            print(f"{label:<32}{took:7.1f} s   {done.stdout.strip()[-80:] if label.startswith('first') else ''}")
        print(f"{'in all':<32}{total:7.1f} s   (load {os.getloadavg()[0]:.1f})")
        subprocess.run([str(binaries / "aiplat"), "stop"], env=variables, capture_output=True, check=False)


if __name__ == "__main__":
    main()
