"""`%%ai --bg`: the cell is over at once, its output is filled in when the answer comes, and a handle says how far it is."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from html import escape
from typing import Any

from aiplat_lab.core.errors import AiplatError
from aiplat_lab.magic._errors import one_line

_CANCELLING_S = 2.0
_LOOK_S = 0.05


class Handle:
    """An answer that is still coming: `.done`, `.text`, `.wait()`, `.cancel()`, or `await handle`."""

    def __init__(self, what: str, work: Callable[[], Any], cancel: Callable[[], bool]) -> None:  # Any: a reply, or what became of rows
        self.what = what
        """What was asked, in a few words."""
        self._cancel = cancel
        self._future: Future[Any] = Future()
        self._began = time.monotonic()
        context = contextvars.copy_context()  # the cell whose output it is
        self._thread = threading.Thread(target=context.run, args=(self._run, work), name="aiplat-background", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self._future.done()

    @property
    def error(self) -> BaseException | None:
        """Why there is no answer; None while it is coming, and after it came."""
        return self._future.exception() if self._future.done() else None

    @property
    def text(self) -> str:
        """The answer's text; empty while it is coming.

        Raises:
            AiplatError: it failed, was refused or cancelled.
        """
        return str(self.wait()) if self._future.done() else ""

    def wait(self, timeout_s: float | None = None) -> Any:  # Any: as in `__init__`
        """The answer, when it has come. An interrupt ends the waiting alone: the answer still comes.

        Raises:
            AiplatError: it failed, was refused or cancelled.
            TimeoutError: it has not come within `timeout_s`.
        """
        try:
            return self._future.result(timeout_s)
        except NotYet:
            if self._future.done():
                raise
            raise TimeoutError(f"{self.what} is still coming after {timeout_s:g} s; .wait() again, or .cancel()") from None

    def cancel(self) -> bool:
        """Cancels it; false when it was over already."""
        return not self.done and self._cancel()

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def __repr__(self) -> str:
        state = "is still coming" if not self.done else "has come" if self.error is None else f"failed: {self.error}"
        return f"<{self.what} {state}; .done .wait() .cancel() .text>"

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            self._future.set_result(work())
        except AiplatError as error:
            self._future.set_exception(one_line(error))
        except BaseException as error:  # a thread's border: whoever waits for the handle gets it
            self._future.set_exception(error)


def start(shell: Any, name: str, handle: Callable[[], Handle], *, waits: bool) -> None:  # Any: IPython's shell, without types
    """Begins work in the background, and keeps its handle under a name.

    Args:
        shell: the notebook.
        name: the variable of the handle; empty keeps it as `_bg`.
        handle: begins it.
        waits: whether the cell waits for it, since nobody is there for whom it could be filled in later.

    Raises:
        AiplatError: with `waits`, whatever became of it.
    """
    begun = handle()
    shell.push({"_bg": begun}, interactive=False)
    if name:
        shell.push({name: begun})
    if waits:
        begun.wait()


def waiting(what: str, name: str) -> dict[str, str]:
    """What an output shows until the answer comes."""
    shown = f"Asked in the background: {what}. What comes will stand here; `{name or '_bg'}` is its handle."
    return {"text/html": f'<p role="status"><em>{escape(shown)}</em></p>', "text/plain": shown}


def failed(error: AiplatError) -> dict[str, str]:
    """What an output shows when no answer came."""
    shown = f"{type(error).__name__}: {error.message}"
    return {"text/html": f'<p role="alert" style="color:var(--jp-error-color1,#c62828)">{escape(shown)}</p>', "text/plain": shown}


def cancelled(cancel: Callable[[], bool], done: Callable[[], bool]) -> bool:
    """Cancels a call that may not have reached the gateway yet."""
    end = time.monotonic() + _CANCELLING_S
    while not done() and time.monotonic() < end:
        if cancel():
            return True
        time.sleep(_LOOK_S)
    return False
