"""A report as PDF: set by Typst from `report.json`, tagged, archival (PDF/A-3a), with its data attached.

The template reads the JSON itself, so that no text of a report can be taken for markup.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from aiplat_lab.core.errors import ReportError, shorten

_HERE = Path(__file__).parent


def render_pdf(document: Path, charts: Mapping[int, str], output: Path) -> None:
    """Writes the PDF.

    Args:
        document: the `report.json`.
        charts: the SVG text of each chart, by its place among the document's blocks.
        output: the file to write.

    Raises:
        ReportError: Typst is not installed, or refuses the document.
    """
    try:
        import typst  # an extra: 34 MB that only reports need
    except ImportError:
        raise ReportError('PDF needs Typst: pip install "aiplat-lab[reports]"') from None
    with tempfile.TemporaryDirectory(prefix="aiplat-report-") as name:
        folder = Path(name)
        shutil.copyfile(_HERE / "report.typ", folder / "report.typ")
        shutil.copyfile(document, folder / "report.json")
        for index, svg in charts.items():
            # The generic family has no file of its own here: the shipped one stands for it.
            (folder / f"chart-{index}.svg").write_text(svg.replace("sans-serif", "Inter"), encoding="utf-8")
        try:
            typst.compile(
                folder / "report.typ",
                output=output,
                root=folder,
                font_paths=[_HERE / "fonts"],
                ignore_system_fonts=True,
                pdf_standards=["a-3a"],
                timestamp=int(_made(document).timestamp()),
            )
        except typst.TypstError as error:
            raise ReportError(f"the PDF cannot be set: {shorten(str(error), 400)}") from None


def _made(document: Path) -> datetime:
    return datetime.fromisoformat(json.loads(document.read_text(encoding="utf-8"))["generated_at"])
