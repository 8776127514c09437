"""Loads the routes into a Jupyter server, and starts the gateway beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from traitlets import Bool
from traitlets.config import Configurable

from aiplat_lab.core.settings import environment
from aiplat_lab.labapp.link import Link
from aiplat_lab.labapp.routes import handlers


class AiplatLab(Configurable):  # type: ignore[misc]  # traitlets comes without types for our checker
    """Settings in `jupyter_server_config.py`, such as `c.AiplatLab.start_gateway = False`."""

    start_gateway = Bool(
        True, config=True, help="Start the AI gateway together with the Jupyter server, so that the first call need not wait for it."
    )


def load(serverapp: Any) -> None:  # Any: Jupyter's server, which comes without types
    """Adds the routes to the server; the gateway is started in the background, unless that is turned off."""
    settings = AiplatLab(parent=serverapp)
    link = Link(environment(), root=Path(serverapp.contents_manager.root_dir or serverapp.root_dir))
    serverapp.web_app.add_handlers(".*$", handlers(serverapp.base_url, link))
    if settings.start_gateway:
        link.start_in_background()
    serverapp.log.info("aiplat_lab: AI calls are relayed at %saiplat/api/", serverapp.base_url)
