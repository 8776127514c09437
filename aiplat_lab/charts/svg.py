"""A chart as SVG text, for reports and saved pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def to_svg(chart: Any) -> str:  # Any: an Altair chart, which comes without types
    """The chart drawn as one `<svg>` element that needs nothing from outside.

    Raises:
        ImportError: `vl-convert-python` is not there: `pip install "aiplat-lab[reports]"`.
    """
    return spec_to_svg(chart.to_dict())


def spec_to_svg(spec: Mapping[str, Any]) -> str:
    """The same for a finished Vega-Lite specification, as a notebook keeps it.

    Raises:
        ImportError: as `to_svg` says.
    """
    import vl_convert  # an extra; a dashboard draws in the browser and does without

    svg: str = vl_convert.vegalite_to_svg(dict(spec))
    return svg
