"""One `%%ai` cell: its first line, its text, the call, its output."""

from __future__ import annotations

import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import (
    AiplatError,
    CallCancelled,
    CallRefused,
    CapabilityRefused,
    GatewayUnavailable,
    PromptError,
    ProviderError,
    UsageError,
    shorten,
)
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.place import Place, place
from aiplat_lab.core.settings import Environment, environment
from aiplat_lab.core.types import Attribution, Message, Request, Response
from aiplat_lab.magic import _dry, _formats, _names, _replay, _show
from aiplat_lab.magic._bundle import MIME, Answer, Bundle, Status, bundle, partial, provenance
from aiplat_lab.magic._evaluated import evaluated
from aiplat_lab.magic._interpolate import Prompt, interpolate, variables
from aiplat_lab.magic._live import Live
from aiplat_lab.magic._options import Format, Options, parse, split
from aiplat_lab.magic._reply import Reply, not_json
from aiplat_lab.magic._steps import Steps, Thread, steps_of

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics

_PAUSE_S, _MOST_PAUSE_S = 1.0, 30.0


class Session:
    """What the cells of one kernel share: the connection, the display currency, the last reply."""

    def __init__(self, shell: Any) -> None:  # Any: IPython's shell, which comes without types
        self.shell = shell
        self.environment: Environment = environment()
        self.client: Client = connect()
        self.last: Reply | None = None
        self.threads: dict[str, Thread] = {}
        """The conversations of this kernel's cells, by name."""
        self.allowed: set[str] = set()
        """Functions that a person lets run without being asked again."""
        self.models: list[dict[str, Any]] = []  # Any: JSON
        """The models that are set up, as the gateway listed them last."""
        self.tags: dict[str, str] = {}
        """Tags of every call of this kernel's cells."""
        self.bundle: _replay.Taken | None = None
        """The replay bundle that was taken in."""
        self.answered: dict[str, None] = {}
        """The calls that this kernel's cells were answered, in their order."""
        self._money: tuple[str, Decimal] | None = None
        self._default_model = ""

    def money(self) -> tuple[str, Decimal]:
        """The currency of display, and units of it for one US dollar; asked of the gateway once, and US dollars when it is gone."""
        if self._money is None:
            try:
                self._ask_status()
            except AiplatError:
                return "USD", Decimal(1)  # an answer is not lost for want of its display currency
        return self._money or ("USD", Decimal(1))

    def default_model(self) -> str:
        """The model of a cell that names none, as the settings say."""
        if not self._default_model:
            self._ask_status()
        return self._default_model

    def model_names(self) -> list[str]:
        """The models that can be named."""
        return [str(model["name"]) for model in self.client.models()]

    def publish(self, data: Mapping[str, Any], *, display_id: str, update: bool) -> None:  # Any: MIME data
        """Sends one output of the running cell, or the next state of it."""
        call = data.get("application/vnd.aiplat.call+json") or {}
        metadata: dict[str, Any] = {  # Any: JSON
            "jupyter_ai": {"provider_id": call.get("provider", ""), "model_id": call.get("response_model") or call.get("model", "")}
        }
        if call.get("status") not in {None, "running"}:
            metadata["aiplat"] = metadata[MIME] = provenance(call)
        self.shell.display_pub.publish(dict(data), metadata, transient={"display_id": display_id}, update=update)

    def _ask_status(self) -> None:
        status = self.client.status()
        try:
            rate = Decimal(str(status.get("usd_rate") or 1))
        except InvalidOperation:
            rate = Decimal(1)
        self._money = (str(status.get("currency") or "USD"), rate)
        self._default_model = str(status.get("default_model") or "")


class Cell:
    """One cell on its way from text to output."""

    def __init__(
        self,
        session: Session,
        options: Options,
        here: Place,
        request: Request,
        steps: Steps | None = None,
        depends: Mapping[str, Any] | None = None,  # Any: JSON
    ) -> None:
        self.session = session
        self.depends = depends or {}
        self.options = options
        self.here = here
        self.request = request
        self.steps = steps or Steps(request)
        self.earlier: list[Response] = []
        self.format: Format = options.format or ("json" if options.schema else "markdown")
        self._display_id = uuid.uuid4().hex
        self._live = Live(self._show, self._partial)

    def run(self) -> Reply:
        """Makes the call and shows it.

        Raises:
            AiplatError: it failed, was refused or was interrupted; what had come until then is shown and marked.
        """
        try:
            response = self._answered()
        except KeyboardInterrupt:
            error = CallCancelled(
                "interrupted: the call was cancelled at the provider, and what had come until then is kept and recorded. "
                f"Run the cell again to ask again. (call {self.request.call_id})",
                call_id=self.request.call_id,
            )
            self._fail(error, "cancelled")
            raise error from None
        except AiplatError as error:
            self._fail(error, "refused" if isinstance(error, CallRefused) else "cancelled" if isinstance(error, CallCancelled) else "error")
            raise
        return self._finish(response)

    def _answered(self) -> Response:
        """The answer that stands, after every step."""
        response = self._asked()
        for step in self.steps.steps:
            try:
                while (more := step.next(self.request, response)) is not None:
                    self.earlier.append(response)
                    self._live.restart()
                    self.request = more
                    response = self._asked()
            except ProviderError:
                self._keep(Reply(response.text, request=self.request, response=response, bundle={"text/plain": response.text}))
                raise
        return response

    def _asked(self) -> Response:
        """The answer, after as many further tries as the cell may make."""
        for left in range(self.options.retries or 0, -1, -1):
            try:
                return self._ask()
            except CapabilityRefused:
                settings = dict(self.request.settings)
                if self.steps.schema is None or settings.pop("response_format", None) is None:
                    raise
                self.request = replace(self.request, settings=settings, call_id=new_id(), parent_id=self.request.call_id)
                return self._ask()  # the model is told the schema in words too
            except ProviderError as error:
                wait_s = min(getattr(error, "retry_after_s", None) or _PAUSE_S, _MOST_PAUSE_S)
                if not left or not error.retryable:
                    raise
                sys.stderr.write(f"%%ai: {shorten(error.message, 200)} Trying again in {wait_s:.3g} s.\n")
                time.sleep(wait_s)
                self._live.restart()
                self.request = replace(self.request, call_id=new_id(), parent_id=self.request.parent_id or self.request.call_id)
        raise AssertionError("the last try returns or raises")

    def begin(self, data: Bundle) -> None:
        """Shows something in the place of the output until there is some."""
        self._live.begin(data)

    def run_aside(self, failed: Callable[[AiplatError], Bundle]) -> Reply:
        """As `run`, for a cell that is over: an error stands in its output too, since nobody sees it raised."""
        try:
            return self.run()
        except AiplatError as error:
            if not error.call_id and not self._live.text():
                self._end(failed(error))
            raise

    def _ask(self) -> Response:
        client = self.session.client
        if not self.request.stream:
            return client.chat(self.request)
        follow = self.here.kernel and not self.here.headless and not self.options.quiet
        with client.stream(self.request) as stream:
            for piece in stream:
                self._live.add(piece) if follow else self._live.keep(piece)
            response = stream.response
        if response is None:
            raise CallCancelled("the call was cancelled before its end", call_id=self.request.call_id)
        return response

    def _finish(self, response: Response) -> Reply:
        if response.call_id:
            self.request = replace(self.request, call_id=response.call_id)
        text = _formats.shown(self.format, response.text)
        error = not_json(response, response.text) if self.format == "json" and _formats.parse_json(response.text) is None else None
        data = bundle(self._answer(text, "ok", response=response, error=error))
        value = self.steps.schema.value if self.steps.schema is not None else None
        reply = Reply(text, request=self.request, response=response, bundle=data, parsed=value)
        self.steps.answered(response.text)
        self._keep(reply)
        self._end(data)
        if error is not None:
            raise error
        if self.format == "code" and not self.options.background and self.here.kernel and not self.here.headless and not self.options.quiet:
            self.session.shell.set_next_input(text, replace=False)
        return reply

    def _fail(self, error: AiplatError, status: Status) -> None:
        """Shows what had come, what the ledger knows of it, and the call's id, where a call was begun."""
        text = self._live.text()
        if not text and not error.call_id:
            return
        if error.call_id:
            self.request = replace(self.request, call_id=error.call_id)
        with _uninterrupted():
            # A gateway that has gone is not asked; the cell is not held up for it.
            row = None if isinstance(error, GatewayUnavailable) else self.session.client.ended(self.request.call_id)
            self._end(bundle(self._answer(text, status, error=error, row=row)))

    def _answer(
        self,
        text: str,
        status: Status,
        *,
        response: Response | None = None,
        error: AiplatError | None = None,
        row: Mapping[str, Any] | None = None,  # Any: a row's values
    ) -> Answer:
        currency, rate = self.session.money() if response is not None or row is not None else ("USD", Decimal(1))
        return Answer(
            request=self.request,
            text=text,
            format=self.format,
            status=status,
            response=response,
            error=error,
            row=row,
            currency=currency,
            usd_rate=rate,
            notes=self.steps.notes() if response is not None else (),
            earlier=tuple(self.earlier),
            depends=self.depends,
        )

    def _keep(self, reply: Reply) -> None:
        self.session.answered[reply.call_id] = None
        self.session.last = reply
        self.session.shell.push({"_ai": reply}, interactive=False)
        if self.options.out:
            self.session.shell.push({self.options.out: reply})

    def _end(self, data: Bundle) -> None:
        if not self.options.quiet:
            self._live.end(data)

    def _show(self, data: Mapping[str, Any], *, update: bool) -> None:  # Any: MIME data
        self.session.publish(data, display_id=self._display_id, update=update)

    def _partial(self, text: str) -> Bundle:
        return partial(self._answer(text, "running"))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds off a second interrupt while what is kept of a call is shown: an impatient person loses nothing by it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)


class Ready(NamedTuple):
    """A cell that was read: what it asks, before anything is sent."""

    options: Options
    here: Place
    request: Request
    warnings: tuple[str, ...]
    steps: Steps
    depends: Mapping[str, Any]  # Any: JSON
    """What the answer depends on, as its output says it."""


def run(magics: AiMagics, line: str, body: str, *, also: Mapping[str, Any] | None = None) -> None:  # Any: the user's values
    """Runs one cell; `also` is what its text may name beside the notebook's variables.

    Raises:
        AiplatError: as its kind says; one line, and the cell has failed.
    """
    options = parse(line)
    if options.versus:
        _compare(magics, options, place(magics.session().shell, magics.session().environment), body)
        return
    if options.each:
        _each_row(magics, line, body, options)
        return
    if options.into or options.workers is not None:
        raise UsageError(f"{'--into' if options.into else '--workers'} goes with --each, such as --each df.text. Nothing was sent.")
    said = evaluated(magics, body) if options.evaluate else None
    cell = ready(magics, line, body, also=also, said=said)
    options, request, session = cell.options, cell.request, magics.session()
    for warning in cell.warnings:
        sys.stderr.write(f"%%ai: {warning}\n")
    if options.dry_run:
        _dry.show(session, request, options)
        return
    if options.max_cost is not None:
        request = _dry.within(session, request, options.max_cost)
    if options.repeat is not None and options.repeat > 1:
        _repeat_cell(session, cell, request, lambda: ready(magics, line, body, here=cell.here, also=also, said=said).steps)
        return
    if options.show_request:
        _show.sent(session.shell, request)
    if options.background and options.tools and not magics.allow_tools:
        raise UsageError("--bg cannot ask whether a function of --tools may run. Say so before: %config AiMagics.allow_tools = True")
    if options.background:
        _in_background(session, replace(options, out=""), cell, request, options.out)
        return
    Cell(session, options, cell.here, request, cell.steps, cell.depends).run()


def _each_row(magics: AiMagics, line: str, body: str, options: Options) -> None:
    """A cell with `--each`: one question a row, in the background with `--bg`."""
    from aiplat_lab.magic import _background, _each  # with all that rows need, which other cells do not

    session = magics.session()
    here = place(session.shell, session.environment)

    def write(row: Mapping[str, Any]) -> _each.Written:  # Any: the user's values
        cell = ready(magics, line, body, here=here, also=row)
        return _each.Written(cell.request, cell.warnings)

    each = _each.ready(session, options, here, body=body, names=variables(session.shell), write=write)
    if not options.background:
        each.run()
        return
    what = f"{len(each.rows):,} rows of {options.each}"
    if not (options.quiet or here.headless):
        each.output.publish(_background.waiting(what, options.out))
    _background.start(session.shell, options.out, lambda: _background.Handle(what, each.run, each.stop), waits=here.headless)


def _in_background(session: Session, options: Options, ready_cell: Ready, request: Request, name: str) -> None:
    """A cell with `--bg`: its output is filled in later, and a handle stands in the variable of `-o`."""
    from aiplat_lab.magic import _background  # as in `_each_row`

    here = ready_cell.here
    cell = Cell(session, options, here, request, ready_cell.steps, ready_cell.depends)
    what = f"call {request.call_id[-8:]}"
    if not (options.quiet or here.headless):
        cell.begin(_background.waiting(what, name))
    begun: list[_background.Handle] = []

    def cancel() -> bool:
        return _background.cancelled(lambda: session.client.cancel(request.call_id), lambda: begun[0].done)

    def start() -> _background.Handle:
        begun.append(_background.Handle(what, lambda: cell.run_aside(_background.failed), cancel))
        return begun[0]

    _background.start(session.shell, name, start, waits=here.headless)


def ready(
    magics: AiMagics,
    line: str,
    body: str,
    *,
    here: Place | None = None,
    also: Mapping[str, Any] | None = None,  # Any: the user's values
    said: str | None = None,
) -> Ready:
    """What a cell asks.

    Args:
        magics: the magics of its kernel.
        line: what follows `%%ai`.
        body: the lines below.
        here: where it stands; None is the cell that runs now.
        also: variables beside the notebook's own, such as those of a row.
        said: the prompt as it stands, such as what the code of a cell with `--eval` gave; `body` is then not looked at.

    Raises:
        AiplatError: it cannot be sent as it stands.
    """
    options = parse(line)
    if options.evaluate and said is None:
        raise PromptError("the prompt of a cell with --eval is known when its code has run")
    if said is not None:
        body, options = said, replace(options, interpolate=False)
    if not body.strip() and not options.prompt:
        raise UsageError("the cell has no text, so nothing was sent. Write the prompt on the lines below %%ai.")
    session = magics.session()
    here = place(session.shell, session.environment) if here is None else here
    _replay.take_in(session)
    if options.reset:
        session.threads.pop(options.thread, None)
    names = {**variables(session.shell), **(also or {})}
    asked = (_of_prompt if options.prompt else _of_text)(session, options, here, body, names)
    named = _names.resolve(magics, options.model or asked.request.model)
    request = replace(
        asked.request,
        model=_names.address(magics, options.api_base, named.name) if options.api_base else named.name,
        stream=options.stream if options.stream is not None else not here.headless,
        cache=options.cache,
        timeout_s=options.timeout_s,
    )
    history = options.history if options.history is not None or options.thread else (magics.max_history or None)
    thread = session.threads.setdefault(options.thread, Thread(options.thread)) if options.thread or history else None
    steps = steps_of(
        request,
        options,
        names,
        thread=thread,
        history=history,
        cell=here.cell_id or f"In[{getattr(session.shell, 'execution_count', 0)}]",
        consent=lambda name, call: _may_run(magics, here, name, call),
    )
    warnings = (*asked.warnings, *filter(None, (named.notice,)), *(f"{name} is jupyter-ai's: {why}" for name, why in options.ignored))
    request = _replay.by_default(session, options, _replay.wished(magics, options, steps.request))
    default = not (options.model or asked.request.model)
    depends = _replay.depends(options, line, body, request, asked.values, default=default)
    return Ready(options, here, request, warnings, steps, depends)


def _may_run(magics: AiMagics, here: Place, name: str, call: str) -> bool:
    """Whether a function of the notebook may run that a model asks for.

    Raises:
        UsageError: nobody is there to say so.
    """
    session = magics.session()
    if magics.allow_tools or name in session.allowed:
        return True
    if here.headless:
        raise UsageError(
            f"the model asks for {shorten(call, 160)}, and nobody is there to allow it. "
            "Where its functions may run unasked, say so in the notebook: %config AiMagics.allow_tools = True"
        )
    try:
        said = input(f"The model asks to run {call}. Let it? [y]es, [n]o, [a]lways: ").strip().lower()
    except EOFError:
        raise UsageError(f"the model asks for {shorten(call, 160)}, and nobody answers whether it may run. It did not.") from None
    if said in ("a", "always"):
        session.allowed.add(name)
    return said in ("y", "yes", "a", "always")


def _compare(magics: AiMagics, options: Options, here: Place, body: str) -> None:
    """A cell with `--vs`: a comparison, which stands in `_ab`, and in the variable of `-o`."""
    from aiplat_lab.magic import _versus  # with all that a comparison needs, which other cells do not

    session = magics.session()
    cell = _versus.Cell(options, body, variables(session.shell), session.client, lambda typed: model_name(magics, typed), here.headless)
    found = _versus.run(cell)
    if not here.kernel:
        found.show()  # a terminal has no output that could be brought up to date
    session.shell.push({"_ab": found}, interactive=False)
    if options.out:
        session.shell.push({options.out: found})


def _repeat_cell(session: Session, cell: Ready, request: Request, steps: Callable[[], Steps]) -> None:
    """A cell with `--repeat` alone, each answer with steps of its own; `-o` keeps all replies."""
    from aiplat_lab.magic import _repeat  # as in `_compare`

    options = cell.options
    replies = _repeat.run(request, options.repeat or 1, lambda one: Cell(session, options, cell.here, one, steps(), cell.depends).run())
    if options.out:
        session.shell.push({options.out: replies})
    if not options.quiet:
        currency, rate = session.money()
        session.shell.display_pub.publish({"text/plain": _repeat.summary(replies, currency=currency, rate=rate)})


class _Asked(NamedTuple):
    """What a cell's text asks."""

    request: Request
    warnings: tuple[str, ...]
    values: Mapping[str, Any]  # Any: the user's values


def _of_text(session: Session, options: Options, here: Place, body: str, names: Mapping[str, Any]) -> _Asked:  # Any: the user's values
    """A cell whose text is the prompt."""
    values: dict[str, str] = {}
    text = body.strip("\n").rstrip()
    strict = here.headless
    prompt = interpolate(text, names, strict=strict, lenient=options.lenient, values=values) if options.interpolate else Prompt(text, ())
    form = "" if options.format is None or options.settings.get("completion") else _formats.INSTRUCTIONS[options.format]
    text = f"{prompt.text}\n\n{form}" if form else prompt.text
    request = Request(
        model="",
        messages=(*((Message("system", options.system),) if options.system else ()), Message("user", text)),
        settings=dict(options.settings),
        attribution=attribution(session, options, here),
    )
    return _Asked(request, prompt.warnings, values)


def _of_prompt(session: Session, options: Options, here: Place, body: str, names: Mapping[str, Any]) -> _Asked:  # Any: as in `_of_text`
    """A cell that gives values to a saved prompt. Its words stay as they were saved: nothing is added to them."""
    from aiplat_lab.magic._saved import prompted  # brings the template engine, which other cells do not need

    if options.system:
        raise UsageError("--system has no place beside --prompt: the saved prompt has its own messages. Leave it out.")
    asked = prompted(options.prompt, body, names, session.client, strict=here.headless, lenient=options.lenient)
    request = asked.prompt.request(asked.values, settings=options.settings, attribution=attribution(session, options, here))
    return _Asked(request, asked.warnings, asked.values)


def asks_prompt(line: str) -> bool:
    """Whether a line names a saved prompt, so that it asks without a text below it."""
    return any(not word.quoted and word.text.partition("=")[0] == "--prompt" for word in split(line))


def attribution(session: Session, options: Options, here: Place) -> Attribution:
    """Who pays for a cell, and where it stands."""
    known = session.environment.attribution
    return replace(
        known,
        surface="magic",
        team=options.team or known.team,
        project=options.project or known.project,
        notebook=here.notebook,
        cell_id=here.cell_id,
        tags={**session.tags, **options.tags},
    )


def model_name(magics: AiMagics, typed: str) -> str:
    """The model a cell asks, under the name the gateway knows."""
    return _names.resolve(magics, typed).name
