"""Personal data and keys in what is asked and answered: noted, replaced by placeholders and put back, or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from aiplat_lab.core.errors import ConfigError, ContentRefused, did_you_mean
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import RedactionSettings, Settings
from aiplat_lab.core.types import Call, Chunk, Clock, Request, Response, utc_now
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies._mask import Action, Examination, Vault
from aiplat_lab.policies._pieces import FEW, MANY, Examining, Filter, Restoring
from aiplat_lab.policies._presidio import NAMES, Presidio
from aiplat_lab.policies._walk import changed_request, changed_response, request_texts, without_log_probs
from aiplat_lab.policies.detectors import DETECTORS, Detector, Finding, Suspicion, chosen, suspicion

MASKED = "masked"
"""The flag of a call whose ledger row and payloads hold placeholders; its answer is never given again for another call."""
_MUCH = 64 * 1024
"""Texts of more characters than this, together, are looked through beside the event loop."""
_STEERED = frozenset({"user", "tool", "function"})
"""The roles whose texts may come from strangers."""
_DONE: Mapping[str, str] = {"observe": "observed", "mask": "masked", "refuse": "refused"}


@dataclass(slots=True)
class Seen:
    """What was found in one request."""

    request: Request
    """The request with placeholders; the same one where nothing was masked."""
    examination: Examination
    vault: Vault
    answer: Examination | None = None
    """The same for the answer, once there is one."""
    stream: Answer | None = None


@register("policy", "redact")
class Redact:
    """Looks through every text of a request and of its answer, in whatever wire they came.

    `mask` sends placeholders, restores them in the answer, and leaves placeholders in the ledger; `refuse` names what was found and how
    often, never the text.

    Raises:
        ConfigError: there is no such detector or action, or Presidio is asked for and not installed.
    """

    name = "redact"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._settings = settings.redaction
        self._presidio = Presidio() if self._settings.presidio else None
        extra = tuple(NAMES.values()) if self._presidio else ()
        named = [name for name in self._settings.detectors if name not in {one.name for one in extra}]
        own = chosen(named) if named or not self._settings.detectors else ()
        self._input = _actions(self._settings, self._settings.input, (*own, *extra))
        self._output = _actions(self._settings, self._settings.output, (*own, *extra))
        self._own = own
        self._active = bool(self._input or self._output or self._settings.injection != "off")
        self._stops = not {"mask", "refuse"}.isdisjoint(self._output.values())
        """Whether an answer may have to be changed or stopped."""

    async def before(self, call: Call) -> None:
        """Masks the request, or raises `ContentRefused`."""
        if not self._active:
            return
        seen = await self._look(call.request)
        call.state[self.name] = seen
        self._keep(call, seen)
        _note(call, seen.examination, "")
        refused = seen.examination.with_action("refuse")
        if refused:
            raise ContentRefused(_refusal("the request", refused), policy=self.name)
        if call.request.operation == "embed" and not call.request.inputs and not {"mask", "refuse"}.isdisjoint(self._input.values()):
            raise ContentRefused(
                "the request holds tokens instead of texts, so that nobody can look through it; send texts", policy=self.name
            )
        if self._settings.injection != "off" and call.request.operation == "chat":
            await self._steering(call)
        if seen.request is not call.request:
            call.request = replace(seen.request, cache="off")
            call.notes[MASKED] = str(sum(seen.examination.with_action("mask").values()))

    async def answered(self, call: Call) -> None:
        """Looks through a whole answer, and puts back what stands behind its placeholders."""
        seen = call.state.get(self.name)
        if not isinstance(seen, Seen) or call.response is None:
            return
        answer = call.response
        if self._output and call.request.operation == "chat":
            extra = await self._names([answer.text])
            seen.answer = Examination(self._output, self._own, seen.vault, back=False, extra=extra)
            masked = changed_response(answer, seen.answer.change)
            if seen.answer.with_action("mask") or seen.answer.with_action("refuse"):
                masked = replace(masked, body=without_log_probs(masked.body))
            _note(call, seen.answer, "output ")
            refused = seen.answer.with_action("refuse")
            if refused:
                call.recorded_response = masked
                raise ContentRefused(_refusal("the answer", refused), policy=self.name)
            if seen.answer.with_action("mask"):
                answer = call.response = call.recorded_response = masked
                _flag(call)
        if seen.vault.restores:
            call.recorded_response = answer
            call.response = changed_response(answer, seen.vault.restored)

    def pieces(self, call: Call) -> Answer | None:
        """What the pieces of a streamed answer pass through; None where there is nothing to change."""
        seen = call.state.get(self.name)
        if not isinstance(seen, Seen) or not (self._stops or seen.vault.restores):
            return None
        if self._stops:
            seen.answer = Examination(self._output, self._own, seen.vault, back=False)
        seen.stream = Answer(seen, restores=seen.vault.restores, name=self.name)
        return seen.stream

    async def after(self, call: Call) -> None:
        """Sees to it that the ledger keeps what was masked, however and wherever the call ended."""
        if not self._active:
            return
        seen = call.state.get(self.name)
        if not isinstance(seen, Seen):
            await self._unseen(call)
            return
        if seen.stream is not None:
            self._recorded(call, seen.stream)
        if seen.answer is None and self._output and call.request.operation == "chat":
            self._observed(call, seen)
        if seen.answer is not None:
            _note(call, seen.answer, "output ")

    async def twin(self, request: Request) -> tuple[Request, Callable[[Response], Response]]:
        """The request as the ledger keeps it, and what puts the originals back into its answer."""
        seen = await self._look(request)
        return seen.request, lambda response: changed_response(response, seen.vault.restored)

    # --- parts ------------------------------------------------------------------------------------------------------

    async def _look(self, request: Request) -> Seen:
        texts = request_texts(request)
        extra = await self._names(texts)
        if sum(map(len, texts)) > _MUCH:
            return await asyncio.to_thread(self._seen, request, texts, extra)
        return self._seen(request, texts, extra)

    def _seen(self, request: Request, texts: list[str], extra: Mapping[str, list[Finding]]) -> Seen:
        vault = Vault(texts)
        examination = Examination(self._input, self._own if self._input else (), vault, extra=extra)
        return Seen(changed_request(request, examination.change), examination, vault)

    async def _names(self, texts: list[str]) -> Mapping[str, list[Finding]]:
        return await asyncio.to_thread(self._presidio.find, texts) if self._presidio is not None else {}

    def _keep(self, call: Call, seen: Seen) -> None:
        """What the ledger keeps of the request."""
        if seen.request is not call.request:
            call.recorded_request = seen.request
            _flag(call)

    async def _steering(self, call: Call) -> None:
        """Looks for attempts to steer the model."""
        texts = [text for text in _strange(call.request) if text]
        if sum(map(len, texts)) > _MUCH:
            found = await asyncio.to_thread(_most_suspicious, texts)
        else:
            found = _most_suspicious(texts)
        if not found.flagged:
            return
        done = _DONE[self._settings.injection]
        call.findings["injection"] = f"{found.score:.2f} {done}: {', '.join(found.reasons)}"
        if self._settings.injection == "refuse":
            raise ContentRefused(
                f"a text of the request looks like an attempt to steer the model ({found.score:.2f}: {', '.join(found.reasons)}). "
                'It was not sent. If it is harmless, set redaction.injection = "observe", or take the text out.',
                policy=self.name,
            )

    async def _unseen(self, call: Call) -> None:
        """A call that ended before it was looked through is recorded as if it had been."""
        try:
            self._keep(call, await self._look(call.request))
        except ContentRefused:
            call.recorded_request = replace(call.request, messages=(), inputs=(), settings={}, body=None)
            _flag(call)

    def _recorded(self, call: Call, stream: Answer) -> None:
        if call.response is not None:
            call.recorded_response = replace(call.response, text=stream.text, tool_calls=stream.calls(call.response))
        elif stream.text:
            call.recorded_response = Response(text=stream.text)
        if call.recorded_response is not None and stream.masked:
            _flag(call)

    def _observed(self, call: Call, seen: Seen) -> None:
        """Counts what stands in an answer that was passed on as it is."""
        answer = call.recorded_response or call.response or (Response(text="".join(call.partial)) if call.partial else None)
        if answer is not None:
            seen.answer = Examination(self._output, self._own, Vault(), back=False)
            try:
                changed_response(replace(answer, body=None), seen.answer.change)
            except ContentRefused:
                call.flags.append("not_looked_through")


class Answer:
    """The pieces of a streamed answer on their way to the caller, and what the ledger keeps of them."""

    def __init__(self, seen: Seen, *, restores: bool, name: str) -> None:
        self._seen = seen
        self._name = name
        self._texts: list[str] = []
        self._arguments: dict[int, list[str]] = {}
        self._examining = None
        if seen.answer is not None:
            examination = seen.answer
            self._examining = Filter(lambda encoded: Examining(examination, self._check, encoded), examination.change, most=MANY)
        vault = seen.vault
        self._restoring = Filter(lambda encoded: Restoring(vault, encoded), vault.restored, most=FEW) if restores else None

    @property
    def text(self) -> str:
        """The text with placeholders."""
        return "".join(self._texts)

    @property
    def masked(self) -> bool:
        """Whether anything of the model's own was replaced."""
        return self._seen.answer is not None and bool(self._seen.answer.with_action("mask") or self._seen.answer.with_action("refuse"))

    def calls(self, response: Response) -> tuple[Mapping[str, object], ...]:
        """The tool calls of the whole answer, with placeholders in their arguments."""
        found = []
        for index, call in enumerate(response.tool_calls):
            function = call.get("function")
            if isinstance(function, Mapping) and index in self._arguments:
                call = {**call, "function": {**function, "arguments": "".join(self._arguments[index])}}
            found.append(call)
        return tuple(found)

    def of(self, chunk: Chunk) -> list[Chunk]:
        """What becomes of a piece.

        Raises:
            ContentRefused: the answer holds what may not be passed on.
        """
        if self._examining is None:
            return self._on([chunk])
        return self._on(self._examining.of(replace(chunk, body=without_log_probs(chunk.body))))

    def end(self) -> list[Chunk]:
        """What was held back."""
        out = self._on(self._examining.end()) if self._examining else []
        return out + (self._restoring.end() if self._restoring else [])

    def _on(self, chunks: list[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            if chunk.text:
                self._texts.append(chunk.text)
            for place, call in enumerate(chunk.tool_calls):
                arguments = (call.get("function") or {}).get("arguments")
                if isinstance(arguments, str):
                    self._arguments.setdefault(int(call.get("index", place)), []).append(arguments)
        if self._restoring is None:
            return chunks
        return [piece for chunk in chunks for piece in self._restoring.of(chunk)]

    def _check(self) -> None:
        refused = self._seen.answer.with_action("refuse") if self._seen.answer is not None else {}
        if refused:
            raise ContentRefused(_refusal("the answer", refused), policy=self._name)


def _actions(settings: RedactionSettings, mode: Action, detectors: tuple[Detector, ...]) -> dict[str, Action]:
    """What happens for each detector on one side; empty where nothing is looked for.

    Raises:
        ConfigError: `actions` names what there is not.
    """
    known = {**DETECTORS, **{one.name: one for one in NAMES.values()}}
    named: dict[str, Action] = {}
    for name, action in settings.actions.items():
        if name not in known:
            raise ConfigError(f"redaction.actions: there is no detector {name!r}.{did_you_mean(name, known)} docs/redaction.md lists them.")
        found: Action | None = next((one for one in get_args(Action) if one == action), None)
        if found is None:
            raise ConfigError(f"redaction.actions.{name} is {action!r}; it must be one of {', '.join(map(repr, get_args(Action)))}")
        named[name] = found
    if mode == "off":
        return {}
    actions: dict[str, Action] = {one.name: named.get(one.name, mode) for one in detectors}
    return {name: action for name, action in actions.items() if action != "off"}


def _flag(call: Call) -> None:
    if MASKED not in call.flags:
        call.flags.append(MASKED)


def _note(call: Call, examination: Examination, side: str) -> None:
    """Writes what was found into the call: how many, and what was done; never what."""
    for action, done in _DONE.items():
        for name, count in examination.with_action(action).items():  # type: ignore[arg-type]  # the keys of `_DONE` are actions
            call.findings[side + name] = f"{count} {done}"


def _refusal(where: str, found: Mapping[str, int]) -> str:
    things = ", ".join(f"{name} ({count})" for name, count in found.items())
    return f"{where} holds what a rule refuses: {things}. Take it out, or change [redaction] in aiplat.toml."


def _strange(request: Request) -> list[str]:
    """The texts that may come from somebody else than the caller: documents, results of tools, descriptions of tools."""
    texts = [message.text() for message in request.messages if message.role in _STEERED]
    for tool in request.settings.get("tools") or ():
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if isinstance(function, Mapping):
            texts.append(str(function.get("description") or ""))
    return texts


def _most_suspicious(texts: list[str]) -> Suspicion:
    return max(map(suspicion, texts), key=lambda one: one.score, default=Suspicion(0.0, ()))
