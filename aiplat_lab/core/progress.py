"""How far long work is, shown one way everywhere: a bar in the notebook, a line in the terminal, a line now and then in a log.

Whoever works calls a `Tell` with a `Progress` as often as it likes; `teller()` says where it goes, and lets through what a person can
read. The shell is looked up; IPython is not imported here.
"""

from __future__ import annotations

import shutil
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any, TextIO, TypeAlias

from aiplat_lab.core.place import place, shell_here
from aiplat_lab.core.settings import environment
from aiplat_lab.core.text import money, seconds

NOTEBOOK_S = 0.25
"""Seconds between two states of the bar in a notebook."""
TERMINAL_S = 0.2
LOG_S = 5.0
"""Seconds between two lines where nothing can be written over."""
_WIDTH = 24
_WINDOW_S = 30.0
_SAMPLE_S = 0.5
_NOTHING = Decimal(0)
_TRACK = "rgba(128,128,128,.28)"
_BAR = "display:flex;height:.5em;max-width:36em;border-radius:.25em;overflow:hidden;background:" + _TRACK
_DONE, _FAILED = "var(--jp-brand-color1,#1976d2)", "var(--jp-error-color1,#d32f2f)"
_LINE = "margin-top:.35em;font-variant-numeric:tabular-nums"
_STOP = (
    "margin-left:.8em;padding:.05em .7em;font:inherit;color:inherit;cursor:pointer;background:transparent;"
    "border:1px solid currentColor;border-radius:.25em"
)
_NO_MATH = "tex2jax_ignore mathjax_ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a piece of work is."""

    done: int
    """How many are over, the failed ones among them."""
    total: int
    failed: int = 0
    cached: int = 0
    """How many were known already and cost nothing."""
    spent_usd: Decimal = _NOTHING
    left_s: float | None = None
    """About how long it will still take; None while nobody knows."""
    unit: str = "done"
    """What is counted: `rows`, `samples`."""
    note: str = ""
    """What a person should know meanwhile, such as that a batch is waited for."""
    ended: bool = False
    """Whether it ended before all of it was done."""

    @property
    def over(self) -> bool:
        """Whether there will be no further state."""
        return self.ended or self.done >= self.total


Tell: TypeAlias = Callable[[Progress], None]
"""Is told how far it is."""


class Pace:
    """How long the rest will take, by the speed of the last half minute: what was known already goes fast, and says nothing of the rest."""

    def __init__(self, done: int = 0) -> None:
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), done)])

    def left_s(self, done: int, total: int) -> float | None:
        """Seconds until `total`; None while nothing was done."""
        now = time.monotonic()
        if now - self._seen[-1][0] >= _SAMPLE_S:
            self._seen.append((now, done))
        while len(self._seen) > 1 and now - self._seen[1][0] > _WINDOW_S:
            self._seen.popleft()
        begun, before = self._seen[0]
        return (now - begun) / (done - before) * (total - done) if done > before else None


def facts(now: Progress, *, currency: str = "USD", rate: Decimal = Decimal(1)) -> list[str]:
    """What is known, each as a few words: how many, failed, known already, cost so far, time left."""
    found = [f"{now.done:,} of {now.total:,} {now.unit}"]
    found += [f"{now.failed:,} failed"] if now.failed else []
    found += [f"{now.cached:,} known already"] if now.cached else []
    found.append(money(now.spent_usd, currency=currency, rate=rate) + ("" if now.over else " so far"))
    found += [f"about {seconds(now.left_s)} left"] if now.left_s is not None and not now.over else []
    found += [now.note] if now.note else []
    return found


def line(now: Progress, *, currency: str = "USD", rate: Decimal = Decimal(1), bar: bool = True) -> str:
    """Progress as one line of text.

    Args:
        now: how far it is.
        currency: the currency of display.
        rate: units of it for one US dollar.
        bar: whether it begins with a bar.
    """
    filled = _WIDTH * now.done // max(now.total, 1)
    drawn = f"{'█' * filled}{'░' * (_WIDTH - filled)} " if bar else ""
    return drawn + ", ".join(facts(now, currency=currency, rate=rate))


def html(now: Progress, *, currency: str = "USD", rate: Decimal = Decimal(1), stop: str = "") -> str:
    """Progress as HTML for a notebook's output, in its light or dark colours.

    Args:
        now: how far it is.
        currency: the currency of display.
        rate: units of it for one US dollar.
        stop: a command of JupyterLab behind a button that stops the work; empty shows none.
    """
    said = facts(now, currency=currency, rate=rate)
    total = max(now.total, 1)
    good, bad = 100 * (now.done - now.failed) / total, 100 * now.failed / total
    about = (
        f'role="progressbar" aria-label="{escape(now.unit)}" aria-valuemin="0" aria-valuemax="{now.total}" aria-valuenow="{now.done}" '
        f'aria-valuetext="{escape(", ".join(said))}"'
    )
    parts = f'<div style="width:{good:.2f}%;background:{_DONE}"></div><div style="width:{bad:.2f}%;background:{_FAILED}"></div>'
    first, rest = escape(said[0]), escape(" · ".join(["", *said[1:]]))
    return (
        f'<div class="aiplat-progress {_NO_MATH}"><div {about} style="{_BAR}">{parts}</div>'
        f'<div style="{_LINE}"><strong>{first}</strong>{rest}{"" if now.over else _button(stop)}</div></div>'
    )


def _button(command: str) -> str:
    if not command:
        return ""
    return (
        f'<button type="button" style="{_STOP}" data-commandlinker-command="{escape(command)}" data-commandlinker-args="{{}}" '
        'title="Stops it, and keeps what is done">Stop</button>'
    )


class Meter:
    """A `Tell` that writes no more often than can be read, and always the last state.

    Args:
        write: takes what is to be shown.
        every_s: seconds between two states.
        wait_s: seconds before the first one, so that short work says nothing but its end.
        silent: whether work that ended before the first state is not shown at all.
    """

    def __init__(self, write: Tell, *, every_s: float, wait_s: float = 0.0, silent: bool = False) -> None:
        self._write = write
        self._every_s = every_s
        self._next_s = time.monotonic() + wait_s
        self._shown = not silent
        self._over = False

    def __call__(self, now: Progress) -> None:
        """Takes the next state."""
        at = time.monotonic()
        if self._over or not (now.over or at >= self._next_s):
            return
        self._over = now.over
        if not self._shown and now.over:
            return
        self._shown = True
        self._next_s = at + self._every_s
        self._write(now)


def teller(progress: bool | Tell, *, currency: str = "USD", rate: Decimal = Decimal(1)) -> Tell:
    """Where progress goes: a function that is given, or the notebook, the terminal, the log; or nowhere.

    Args:
        progress: a function; or whether it is shown.
        currency: the currency of display.
        rate: units of it for one US dollar.
    """
    if callable(progress):
        return progress
    if not progress:
        return lambda _: None
    shell = shell_here()
    if shell is not None:
        here = place(shell, environment())
        if here.headless:
            return lambda _: None  # an executed notebook keeps each line that is written over
        if here.kernel:
            return Meter(Output(shell, currency=currency, rate=rate), every_s=NOTEBOOK_S)
    if sys.stderr.isatty():
        return Meter(_Terminal(sys.stderr, currency=currency, rate=rate), every_s=TERMINAL_S)
    return Meter(_Log(sys.stderr, currency=currency, rate=rate), every_s=LOG_S, wait_s=LOG_S, silent=True)


class Output:
    """One output of the running cell that is brought up to date."""

    def __init__(
        self,
        shell: Any,  # Any: IPython's shell, without types
        *,
        currency: str = "USD",
        rate: Decimal = Decimal(1),
        stop: bool = True,
    ) -> None:
        self._shell = shell
        self._currency = currency
        self._rate = rate
        self._display_id = uuid.uuid4().hex
        self._stop = stop_command(shell) if stop else ""
        self.shown = False
        """Whether there is an output already."""

    def __call__(self, now: Progress) -> None:
        """Shows a state."""
        text = line(now, currency=self._currency, rate=self._rate)
        self.publish({"text/html": html(now, currency=self._currency, rate=self._rate, stop=self._stop), "text/plain": text})

    def publish(self, data: Mapping[str, Any]) -> None:  # Any: MIME data
        """Shows something in the place of the bar."""
        update, self.shown = self.shown, True
        self._shell.display_pub.publish(dict(data), {}, transient={"display_id": self._display_id}, update=update)


def stop_command(shell: Any) -> str:  # Any: as in `Output`
    """The command of JupyterLab that interrupts the kernel; empty in VS Code, which does not know it."""
    return "" if shell.user_ns.get("__vsc_ipynb_file__") else "notebook:interrupt-kernel"


class _Terminal:
    """A line of a terminal that is written over."""

    def __init__(self, to: TextIO, *, currency: str, rate: Decimal) -> None:
        self._to = to
        self._currency = currency
        self._rate = rate

    def __call__(self, now: Progress) -> None:
        columns = shutil.get_terminal_size().columns - 1
        text = line(now, currency=self._currency, rate=self._rate)
        keys = "" if now.over else "  (Ctrl-C stops, and keeps what is done)"
        text = text + keys if len(text + keys) <= columns else text[:columns]
        self._to.write(f"\r{text}\x1b[K" + ("\n" if now.over else ""))
        self._to.flush()


class _Log:
    """Lines of a log."""

    def __init__(self, to: TextIO, *, currency: str, rate: Decimal) -> None:
        self._to = to
        self._currency = currency
        self._rate = rate

    def __call__(self, now: Progress) -> None:
        self._to.write(line(now, currency=self._currency, rate=self._rate, bar=False) + "\n")
        self._to.flush()
