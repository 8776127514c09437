"""The table of detectors in docs/redaction.md says what is measured; `python tests/policies/test_redaction_docs.py` writes it anew."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "redaction")]

from corpuskit import kinds, measured  # noqa: E402

from aiplat_lab.policies.detectors import DETECTORS  # noqa: E402

PAGE = ROOT / "docs" / "redaction.md"
BEGIN, END = "<!-- detectors: tests/policies/test_redaction_docs.py writes this table -->\n", "<!-- end -->"


def table() -> str:
    lines = ["| detector | what it finds | n | recall | precision |", "| --- | --- | --- | --- | --- |"]
    for name, score in measured().items():
        lines.append(f"| `{name}` | {DETECTORS[name].title} | {score.wanted} | {score.recall:.2f} | {score.precision:.2f} |")
    return "\n".join(lines) + "\n"


def test_the_page_has_the_measured_figures() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.split(BEGIN)[1].split(END)[0] == table(), "run: python tests/policies/test_redaction_docs.py"
    counted = kinds()
    hard = sum(count for kind, count in counted.items() if kind.startswith("hard"))
    for figure in (f"{sum(counted.values()):,} invented texts", f"among them {hard}\n", f"{counted['numbers'] + counted['plain']} without"):
        assert figure in page, figure


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text.split(BEGIN)[0] + BEGIN + table() + END + text.split(END)[1], encoding="utf-8")
