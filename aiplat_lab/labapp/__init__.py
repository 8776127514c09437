"""The Jupyter server's part: authenticated routes to the gateway for the front end, and the dashboard's tab."""

from __future__ import annotations

from typing import Any

from aiplat_lab.labapp.dashboard import dashboard_server
from aiplat_lab.labapp.extension import AiplatLab, load

__all__ = ["AiplatLab", "dashboard_server"]


def _load_jupyter_server_extension(serverapp: Any) -> None:  # Any: Jupyter's server, which comes without types
    load(serverapp)
