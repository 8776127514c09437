"""`%ai route`: SDK calls of this kernel through the gateway, or no longer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiplat_lab.client import route_sdks, routed
from aiplat_lab.core.errors import UsageError

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics


def route(magics: AiMagics, words: Sequence[str]) -> None:
    """`%ai route on`, `%ai route off`, and `%ai route`, which says how it stands.

    Raises:
        UsageError: there is no such word.
    """
    if len(words) > 1 or (words and words[0] not in {"on", "off"}):
        raise UsageError("write %ai route on, %ai route off, or %ai route to see how it stands")
    if words:
        route_sdks(words[0] == "on")
    now = routed()
    text = repr(now) if now is not None else "SDK calls go to their providers; %ai route on sends them through the gateway"
    magics.shell.display_pub.publish({"text/plain": text})
