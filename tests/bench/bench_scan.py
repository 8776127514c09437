"""How many small files a second `aiplat scan` reads, in CPU time, and how fast it goes through a history.

python tests/bench/bench_scan.py [FILES]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from aiplat_lab.observe.scanning import scan  # noqa: E402

CODE = """import os

from openai import OpenAI

client = OpenAI(api_key=os.environ["OPENAI_API_KEY"])


def answer{0}(question: str) -> str:
    reply = client.chat.completions.create(model="gpt-4o-mini", messages=[{{"role": "user", "content": question}}])
    return reply.choices[0].message.content
"""


def make(folder: Path, count: int) -> None:
    """A tree of small files: code, notebooks, settings and prose."""
    for number in range(count):
        place = folder / f"package{number % 50}"
        place.mkdir(exist_ok=True)
        if number % 10 == 0:
            cell = {"cell_type": "code", "source": CODE.format(number), "outputs": [{"output_type": "stream", "text": "ok\n" * 20}]}
            (place / f"n{number}.ipynb").write_text(json.dumps({"cells": [cell] * 3}))
        elif number % 10 == 1:
            (place / f"s{number}.toml").write_text(f'name = "thing{number}"\nversion = "1.{number}.0"\n' * 5)
        elif number % 10 == 2:
            (place / f"d{number}.md").write_text(f"# Page {number}\n\n" + "Some words about the thing, and some more of them. " * 30)
        else:
            (place / f"m{number}.py").write_text(CODE.format(number) * 2)


def main(count: int) -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, count)
        began = time.process_time()
        found = scan(folder, history=False)
        spent = time.process_time() - began
        print(f"{found.files} files in {spent:.2f} s CPU: {found.files / spent:.0f} a second (bar 500)")
        who = ("-c", "user.name=Bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false")
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
            subprocess.run(["git", *who, "-C", name, *words], check=True)
        began = time.process_time()
        past = scan(folder)
        print(f"with a history of {past.commits} commit that added all of them: {time.process_time() - began:.2f} s CPU")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
