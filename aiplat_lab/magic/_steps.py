"""What goes with a cell's text, and what follows its first answer: schema, tools, images, files, and the conversation it goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.types import Message, Request, Response
from aiplat_lab.magic._options import Options


class Step(Protocol):
    """What a cell does with an answer before it is shown."""

    def next(self, request: Request, response: Response) -> Request | None:
        """What is asked next, or None when the answer stands.

        Raises:
            AiplatError: it does not, and asking again would not help.
        """
        ...

    def note(self) -> str:
        """What the line under the answer says of it; may be empty."""
        ...


@dataclass(slots=True)
class Steps:
    """The steps of one cell."""

    request: Request
    steps: tuple[Step, ...] = ()
    thread: Thread | None = None
    cell: str = ""
    asked: tuple[Message, ...] = ()
    sent: tuple[Message, ...] = ()
    schema: Any = None  # Any: a `_schema.Schema`, which most cells do not load

    def notes(self) -> tuple[str, ...]:
        """What the line under the answer says of the steps."""
        found = [step.note() for step in self.steps]
        if self.thread is not None:
            turns, signs = len(self.sent) // 2, sum(len(message.text()) for message in self.sent)
            name = f"thread {self.thread.name}" if self.thread.name else "earlier cells"
            found.append(f"{name}: {turns} turn{'' if turns == 1 else 's'}, {signs:,} characters sent before it")
        return tuple(note for note in found if note)

    def answered(self, text: str) -> None:
        """Takes the turn into its thread."""
        if self.thread is not None:
            self.thread.keep(self.cell, (*self.asked, Message("assistant", text)))


@dataclass(slots=True)
class Thread:
    """A conversation over several cells: each cell has one turn in it, in the order in which they first ran.

    A cell that runs again takes its own turn's place, and is sent what stands before that: what it sends depends on the notebook, not
    on how often something was run.
    """

    name: str
    turns: dict[str, tuple[Message, ...]] = field(default_factory=dict)

    def before(self, cell: str, history: int | None) -> tuple[Message, ...]:
        """The messages of the turns before a cell's own, the last `history` of them."""
        turns: list[tuple[Message, ...]] = []
        for key, turn in self.turns.items():
            if key == cell:
                break
            turns.append(turn)
        kept = turns if history is None else turns[len(turns) - history :] if history else []
        return tuple(message for turn in kept for message in turn)

    def keep(self, cell: str, turn: tuple[Message, ...]) -> None:
        """Notes a cell's turn."""
        self.turns[cell] = turn


def steps_of(
    request: Request,
    options: Options,
    names: Mapping[str, Any],  # Any: the user's values
    *,
    thread: Thread | None,
    history: int | None,
    cell: str,
    consent: Any = None,  # Any: a `_tools.Consent`, which most cells do not load
) -> Steps:
    """The request with all that goes with it, and the steps of its answer.

    Raises:
        UsageError: something that is named cannot be sent, or is none of what it should be. Nothing was sent.
    """
    steps: list[Step] = []
    schema = None
    if options.images or options.files:
        from aiplat_lab.magic import _attach  # each of these is loaded by the first cell that needs it

        request = _attach.attached(request, images=options.images, files=options.files, names=names)
    asked = tuple(message for message in request.messages if message.role != "system")
    sent: tuple[Message, ...] = ()
    if thread is not None:
        sent = thread.before(cell, history)
        system = tuple(message for message in request.messages if message.role == "system")
        request = replace(request, messages=(*system, *sent, *asked))
    if options.tools:
        from aiplat_lab.magic import _tools

        tools = _tools.Tools.of(options.tools, names, consent)
        request = replace(request, settings={**request.settings, "tools": tools.described()})
        steps.append(tools)
    if options.schema:
        from aiplat_lab.magic import _schema

        if options.format not in (None, "json"):
            raise UsageError(f"--schema asks for JSON, so -f {options.format} has no place beside it. Leave one of them out.")
        schema = _schema.Schema.of(options.schema, names)
        request = schema.asked(request)
        steps.append(schema)
    return Steps(request, tuple(steps), thread, cell, asked, sent, schema)
