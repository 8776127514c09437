"""One `%%ai` cell: its first line, its text, the call, its output."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import AiplatError, CallCancelled, CallRefused, UsageError
from aiplat_lab.core.place import Place, place
from aiplat_lab.core.settings import Environment, environment
from aiplat_lab.core.types import Attribution, Message, Request, Response
from aiplat_lab.magic import _dry, _formats
from aiplat_lab.magic._bundle import Answer, Bundle, Status, bundle, partial
from aiplat_lab.magic._interpolate import interpolate
from aiplat_lab.magic._live import Live
from aiplat_lab.magic._options import Format, Options, parse, split
from aiplat_lab.magic._reply import Reply, not_json

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics

_NOT_VARIABLES = ("exit", "quit", "get_ipython", "open")


class Session:
    """What the cells of one kernel share: the connection, the display currency, the last reply."""

    def __init__(self, shell: Any) -> None:  # Any: IPython's shell, which comes without types
        self.shell = shell
        self.environment: Environment = environment()
        self.client: Client = connect()
        self.last: Reply | None = None
        self.tags: dict[str, str] = {}
        """Tags of every call of this kernel's cells."""
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
        metadata = {
            "jupyter_ai": {"provider_id": call.get("provider", ""), "model_id": call.get("response_model") or call.get("model", "")}
        }
        if call.get("prompt_name"):
            metadata["aiplat"] = {"prompt_name": call["prompt_name"], "prompt_version": call["prompt_version"]}
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

    def __init__(self, session: Session, options: Options, here: Place, request: Request) -> None:
        self.session = session
        self.options = options
        self.here = here
        self.request = request
        self.format: Format = options.format or "markdown"
        self._display_id = uuid.uuid4().hex
        self._live = Live(self._show, self._partial)

    def run(self) -> Reply:
        """Makes the call and shows it.

        Raises:
            AiplatError: it failed, was refused or was interrupted; what had come until then is shown and marked.
        """
        try:
            response = self._ask()
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
        reply = Reply(text, request=self.request, response=response, bundle=data)
        self._keep(reply)
        self._end(data)
        if error is not None:
            raise error
        if self.format == "code" and not self.options.background and self.here.kernel and not self.here.headless and not self.options.quiet:
            self.session.shell.set_next_input(text, replace=False)
        return reply

    def _fail(self, error: AiplatError, status: Status) -> None:
        """Shows what had come, and the call's id, where a call was begun."""
        text = self._live.text()
        if not text and not error.call_id:
            return
        if error.call_id:
            self.request = replace(self.request, call_id=error.call_id)
        self._end(bundle(self._answer(text, status, error=error)))

    def _answer(self, text: str, status: Status, *, response: Response | None = None, error: AiplatError | None = None) -> Answer:
        currency, rate = self.session.money() if response is not None else ("USD", Decimal(1))
        return Answer(
            request=self.request,
            text=text,
            format=self.format,
            status=status,
            response=response,
            error=error,
            currency=currency,
            usd_rate=rate,
        )

    def _keep(self, reply: Reply) -> None:
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


class Ready(NamedTuple):
    """A cell that was read: what it asks, before anything is sent."""

    options: Options
    here: Place
    request: Request
    warnings: tuple[str, ...]


def run(magics: AiMagics, line: str, body: str) -> None:
    """Runs one cell.

    Raises:
        AiplatError: as its kind says; one line, and the cell has failed.
    """
    options = parse(line)
    if options.each:
        _each_row(magics, line, body, options)
        return
    if options.into or options.workers is not None:
        raise UsageError(f"{'--into' if options.into else '--workers'} goes with --each, such as --each df.text. Nothing was sent.")
    cell = ready(magics, line, body)
    options, request, session = cell.options, cell.request, magics.session()
    for warning in cell.warnings:
        sys.stderr.write(f"%%ai: {warning}\n")
    if options.dry_run:
        _dry.show(session, request, options)
        return
    if options.max_cost is not None:
        request = _dry.within(session, request, options.max_cost)
    if options.background:
        _in_background(session, replace(options, out=""), cell.here, request, options.out)
        return
    Cell(session, options, cell.here, request).run()


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


def _in_background(session: Session, options: Options, here: Place, request: Request, name: str) -> None:
    """A cell with `--bg`: its output is filled in later, and a handle stands in the variable of `-o`."""
    from aiplat_lab.magic import _background  # as in `_each_row`

    cell = Cell(session, options, here, request)
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
) -> Ready:
    """What a cell asks.

    Args:
        magics: the magics of its kernel.
        line: what follows `%%ai`.
        body: the lines below.
        here: where it stands; None is the cell that runs now.
        also: variables beside the notebook's own, such as those of a row.

    Raises:
        AiplatError: it cannot be sent as it stands.
    """
    options = parse(line)
    if not body.strip() and not options.prompt:
        raise UsageError("the cell has no text, so nothing was sent. Write the prompt on the lines below %%ai.")
    session = magics.session()
    here = place(session.shell, session.environment) if here is None else here
    names = {**variables(session.shell), **(also or {})}
    asked = (_of_prompt if options.prompt else _of_text)(session, options, here, body, names)
    request = replace(
        asked.request,
        model=model_name(magics, options.model or asked.request.model),
        stream=options.stream if options.stream is not None else not here.headless,
        cache=options.cache,
        timeout_s=options.timeout_s,
    )
    return Ready(options, here, request, asked.warnings)


class _Asked(NamedTuple):
    """What a cell's text asks."""

    request: Request
    warnings: tuple[str, ...]


def _of_text(session: Session, options: Options, here: Place, body: str, names: Mapping[str, Any]) -> _Asked:  # Any: the user's values
    """A cell whose text is the prompt."""
    prompt = interpolate(body.strip("\n").rstrip(), names, strict=here.headless, lenient=options.lenient)
    form = "" if options.format is None or options.settings.get("completion") else _formats.INSTRUCTIONS[options.format]
    text = f"{prompt.text}\n\n{form}" if form else prompt.text
    request = Request(
        model="",
        messages=(*((Message("system", options.system),) if options.system else ()), Message("user", text)),
        settings=dict(options.settings),
        attribution=attribution(session, options, here),
    )
    return _Asked(request, prompt.warnings)


def _of_prompt(session: Session, options: Options, here: Place, body: str, names: Mapping[str, Any]) -> _Asked:  # Any: as in `_of_text`
    """A cell that gives values to a saved prompt. Its words stay as they were saved: nothing is added to them."""
    from aiplat_lab.magic._saved import prompted  # brings the template engine, which other cells do not need

    if options.system:
        raise UsageError("--system has no place beside --prompt: the saved prompt has its own messages. Leave it out.")
    asked = prompted(options.prompt, body, names, session.client, strict=here.headless, lenient=options.lenient)
    request = asked.prompt.request(asked.values, settings=options.settings, attribution=attribution(session, options, here))
    return _Asked(request, asked.warnings)


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


def variables(shell: Any) -> Mapping[str, Any]:  # Any: IPython's shell, and whatever its variables hold
    """The notebook's variables, without what IPython itself put there."""
    hidden = getattr(shell, "user_ns_hidden", {})
    own = dict(shell.user_ns)
    for name in _NOT_VARIABLES:
        if name in own and own[name] is hidden.get(name, own[name]):
            del own[name]
    return own


def model_name(magics: AiMagics, typed: str) -> str:
    """The model a cell asks, under the name the gateway knows: aliases followed, `provider:model` as `provider/model`."""
    name = typed or magics.default_language_model or magics.initial_language_model
    aliases = {**magics.initial_aliases, **magics.aliases}
    for _ in range(len(aliases)):
        if name not in aliases:
            break
        name = str(aliases[name])
    session = magics.session()
    if not name:
        return session.default_model()
    if ":" in name and "/" not in name and name not in session.model_names():
        provider, _, model = name.partition(":")
        return f"{provider}/{model}"
    return name
