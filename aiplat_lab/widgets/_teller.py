"""What every live control shares: its output, whom it answers, and the one thread that sends, so that messages keep their order."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import Context, copy_context
from typing import Any, Generic, TypeVar

from aiplat_lab.widgets._screen import Screen

_RESTS_AFTER_S = 20.0
_T = TypeVar("_T")


class Teller(Generic[_T]):
    """Tells a control what has changed, in a thread that rests when nothing does.

    Args:
        control: the widget.
        name: what its threads are called.
    """

    def __init__(self, control: Any, name: str) -> None:  # Any: ipywidgets comes without types
        self._control = control
        self._name = name
        self._control.on_msg(self._heard_from)
        self._context: Context = copy_context()
        self._lock = threading.Lock()
        self._moved = threading.Event()
        self._running = False
        self._looked = False
        self._problem = ""

    def hear(self, content: Mapping[str, Any]) -> None:  # Any: what a browser sends
        """Takes a message of the browser, in whatever thread the kernel gives."""
        raise NotImplementedError

    def news(self) -> _T:
        """What there is to tell; under the lock."""
        raise NotImplementedError

    def tell(self, news: _T) -> None:
        """Sends it, in the one thread."""
        raise NotImplementedError

    def _show(self, screen: Screen, display_id: str) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": self._control.model_id}
        screen.show({"application/vnd.jupyter.widget-view+json": view, "text/plain": repr(self._control)}, display_id=display_id)

    def _heard_from(self, _: Any, content: Any, buffers: Any) -> None:  # Any: what a browser sends
        if not isinstance(content, Mapping):
            return
        # A kernel hands a control's messages to the shell that its last message came from. Sending on in the context of what was
        # heard keeps them out of the main shell where the front end has given the control one of its own, so that a vote is
        # heard while another cell runs.
        self._context = copy_context()
        self.hear(content)

    def _send(self, content: Mapping[str, Any]) -> None:  # Any: JSON
        self._context.copy().run(self._control.send, dict(content))

    def _wake(self) -> None:
        with self._lock:
            self._moved.set()
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name=f"{self._name}-live", daemon=True).start()

    def _run(self) -> None:
        while True:
            moved = self._moved.wait(_RESTS_AFTER_S)
            with self._lock:
                if not moved and not self._moved.is_set():
                    self._running = False
                    return
                self._moved.clear()
                news = self.news()
            self.tell(news)
