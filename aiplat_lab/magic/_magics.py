"""The magics class: names, settings and help. Light, since `%load_ext` pays for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from traitlets import Bool, Dict, Integer, Unicode, observe

if TYPE_CHECKING:
    from aiplat_lab.magic._cell import Session


@magics_class
class AiMagics(Magics):  # type: ignore[misc]  # IPython comes without types
    """`%%ai` asks a model; `%ai` shows models, costs and calls. Settings: `%config AiMagics`."""

    default_language_model = Unicode(
        "", allow_none=True, help="The model of a cell that names none; empty takes aiplat.toml's default_model."
    ).tag(config=True)
    initial_language_model = Unicode(
        "", allow_none=True, help="The model of a cell that names none, where default_language_model is empty."
    ).tag(config=True)
    aliases = Dict(help="Own names for models: {'fast': 'openai/gpt-5-mini'}.").tag(config=True)
    initial_aliases = Dict(help="Further names for models; `aliases` wins.").tag(config=True)
    max_history = Integer(
        0, help="So many turns of the cells before are sent with each cell; 0 lets each cell stand alone. --thread names a conversation."
    ).tag(config=True)
    allow_tools = Bool(False, help="Whether functions named by --tools may run unasked, such as where nobody watches.").tag(config=True)

    route_sdks = Bool(
        False, help="Whether the calls of the OpenAI, Anthropic, Google and LiteLLM SDKs of this kernel go through the gateway."
    ).tag(config=True)
    allow_eval = Bool(False, help="Whether the code of cells with --eval runs where nobody watches.").tag(config=True)
    replay = Unicode("", help="What a cell does that has no --replay: auto, only, refresh or off; empty takes aiplat.toml's [replay].").tag(
        config=True
    )

    def __init__(self, shell: Any = None, **settings: Any) -> None:  # Any: IPython's shell, which comes without types
        super().__init__(shell=shell, **settings)
        self._session: Session | None = None

    @observe("route_sdks")  # type: ignore[untyped-decorator]  # traitlets comes without types
    def _route(self, change: Any) -> None:  # Any: traitlets' own bunch
        from aiplat_lab.client import route_sdks  # which `%load_ext` need not pay for

        route_sdks(bool(change["new"]))

    def session(self) -> Session:
        """What the cells of this kernel share; made when the first of them runs."""
        if self._session is None:
            from aiplat_lab.magic import _cell  # as in `ai`

            self._session = _cell.Session(self.shell)
        return self._session

    @no_var_expand  # type: ignore[untyped-decorator]  # IPython comes without types
    @line_cell_magic  # type: ignore[untyped-decorator]
    def ai(self, line: str, cell: str | None = None) -> None:
        """Ask a model from a cell.

            %%ai [MODEL] [OPTIONS]
            The prompt, with {variables} of the notebook.

        Examples

            %%ai
            Explain what a virtual environment is, in two sentences.

            %%ai openai/gpt-5-mini -f code
            A function that reads a CSV file with polars and prints its schema.

            %%ai -o answer --temperature 0 --max-tokens 100
            Summarise this complaint in one sentence: {complaint}

            %%ai -f json -o parts --tag topic=refunds
            Give the order number and the amount of: {mail}

            %%ai --prompt summarise@production
            text: {mail}

            %%ai --completion --stop "\\n" --max-tokens 4
            Ticket: I was charged twice.
            Team:

        The model is `provider/model`, `provider:model`, or a name from aiplat.toml.

        Variables: {name}, {name.attribute}, {name[0]}, {price:.2f}; data frames {df:head 5}, {df:schema}, {df:md}.
        {{name}} sends {name} itself. JSON, code and LaTeX in braces are sent as you type them. A value is never read
        again, so braces inside it are safe.

        Options

            -m, --model NAME|JSON   the model, or settings as JSON: -m {"temperature": 0.2}
            -f, --format FORMAT     markdown, text, code, json, html or math
            -o, --out NAME          keep the reply: text, .json, .df, .usage, .cost, .call_id, .request
            --prompt NAME[@X]       ask a saved prompt; the cell gives its variables, such as `text: {mail}`
            --system TEXT           a system message
            --temperature N   --max-tokens N   --seed N   --stop TEXT   --timeout SECONDS
            --fresh                 ask again although the answer is known; --cache auto|on|refresh|off
            --stream/--no-stream    show the answer as it comes, or at its end
            --completion            continue the text, without a chat template (embedded models)
            --quiet                 show nothing; for use with -o
            --tag KEY=VALUE   --team NAME   --project NAME     who pays, for the ledger
            --image V   --file P    send an image (a variable or a path) or a file with the text
            --schema NAME|JSON      the answer must fit this pydantic model or JSON Schema
            --tools F,G             functions the model may ask for, with your consent
            --thread NAME           go on with a conversation; --history N sends its last N turns
            --vs MODEL|PROMPT       ask this one too, side by side; --repeat N asks each N times
            --each DF.COL           ask once a row; --into DF.NEW keeps the answers, --workers N asks at once
            --bg                    ask in the background; -o keeps the handle
            --dry-run               show the request, its price and what the rules say; send nothing
            --max-cost AMOUNT       send nothing that may cost more; --retries N tries again after failures
            --replay MODE           auto, only (never spend), refresh or off
            --show-request          show what was sent above the answer
            --eval                  run the cell's text as code, and ask what it prints or gives
            --no-interpolate        send all braces as they stand; --interpolate is what happens anyway
            --lenient               send braces that name no variable as they stand

        Running a cell again costs nothing while its prompt, model and settings are the same: the answer comes from the
        ledger, and the line under it says so. Interrupt the kernel to cancel a call. The last reply is in `_ai`.

        Before spending: `%%ai --dry-run` one cell, `%ai plan` the whole notebook, `%ai budget 2.50` for all it may spend a day.

        Of jupyter-ai: -r, --reset forgets the thread before it asks; --api-base asks the provider of that address, which must be
        set up; -n (--region-name), -q (--request-schema), -p (--response-path) and --api-key-name are left out with a word,
        since regions and keys stand in aiplat.toml.

        Commands: %ai list, models, prompts, status, plan, budget, cost, log, last, diff, promote, replay, verify, alias,
        dealias, error, fix, reset, cancel, route, version, help
        """
        from aiplat_lab.magic import _entry  # with all that a cell needs, which `%load_ext` need not pay for

        _entry.ai(self, line, cell)
