"""The first line of a cell: a model and options, in our dialect and in jupyter-ai's two."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple

from aiplat_lab.core.errors import UsageError, did_you_mean
from aiplat_lab.core.types import CacheMode, Json, ReplayMode

Format = Literal["markdown", "text", "code", "json", "html", "math"]
FORMATS: tuple[Format, ...] = ("markdown", "text", "code", "json", "html", "math")
_REPLAY: tuple[ReplayMode, ...] = ("auto", "only", "refresh", "off")
_CACHE: tuple[CacheMode, ...] = ("auto", "on", "refresh", "off")
_LEAST_AMOUNT, _MOST_AMOUNT = Decimal("1e-9"), Decimal(10**9)
_ELSEWHERE = "it stands in aiplat.toml, under [providers], so it is left out here"
_SECRET = re.compile(r"sk-|[A-Za-z0-9_-]{32,}")
_KEYS = re.compile(r"api_?key|authorization|secret|token$|password", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the first line of a cell says."""

    model: str = ""
    """As it was typed; empty takes the default."""
    format: Format | None = None
    """None shows Markdown and asks the model for no particular form."""
    out: str = ""
    """The variable that takes the reply."""
    system: str = ""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """Settings of the request under OpenAI's chat names."""
    timeout_s: float | None = None
    cache: CacheMode = "auto"
    stream: bool | None = None
    """None streams when somebody watches."""
    quiet: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    team: str = ""
    project: str = ""
    lenient: bool = False
    interpolate: bool = True
    """Whether braces name variables."""
    evaluate: bool = False
    """Whether the cell's text is code, and what it gives the prompt."""
    reset: bool = False
    """Whether its thread is forgotten before it asks."""
    api_base: str = ""
    """The address of the provider that is to answer, which must be set up."""
    ignored: tuple[tuple[str, str], ...] = ()
    """Options of jupyter-ai that have no effect here, and why."""
    prompt: str = ""
    """A saved prompt, which the cell's text gives values."""
    schema: str = ""
    """What the answer must fit: the name of a pydantic model or of a JSON Schema of the notebook, or the schema itself."""
    tools: tuple[str, ...] = ()
    """Functions of the notebook that the model may ask for."""
    images: tuple[str, ...] = ()
    """Variables or paths of images that go with the text."""
    files: tuple[str, ...] = ()
    """Paths of files that go with the text."""
    replay: ReplayMode = ""
    """Empty takes `%config AiMagics.replay`, and then the setting."""
    thread: str = ""
    """The conversation that the cell goes on with."""
    history: int | None = None
    """How many earlier turns of the thread are sent; None sends all."""
    retries: int | None = None
    max_cost: Decimal | None = None
    """The most that the cell may cost, in the currency of display."""
    dry_run: bool = False
    show_request: bool = False
    background: bool = False
    versus: tuple[str, ...] = ()
    """Models or saved prompts that answer beside the cell's own."""
    repeat: int = 1
    """How often each variant answers."""
    each: str = ""
    """The column, list or frame that is asked row by row."""
    into: str = ""
    workers: int | None = None


class _Word(NamedTuple):
    text: str
    quoted: bool


class _Option(NamedTuple):
    """One option: its names, what its value is called in help, and how the value is kept."""

    names: tuple[str, ...]
    value: str
    help: str
    keep: Callable[[dict[str, Any], str, str], None]  # Any: fields of `Options` while they are gathered
    repeats: bool = False


def parse(line: str) -> Options:
    """The options of a cell's first line.

    Raises:
        UsageError: an unknown option (the nearest is offered), a value that is missing or wrong, a word too many, an
            option given twice. Nothing was sent.
    """
    words = split(line)
    found: dict[str, Any] = {"settings": {}, "tags": {}}  # Any: fields of `Options` while they are gathered
    seen: set[str] = set()
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not word.quoted and word.text.startswith("#"):
            break  # a comment
        if word.quoted or not word.text.startswith("-") or word.text == "-":
            _keep_model(found, word.text, "the model")
            continue
        name, value = _name_and_value(word.text)
        option = _option(name)
        if option.names[0] in seen and not option.repeats:
            raise UsageError(f"{name} is given twice; keep one of them.")
        seen.add(option.names[0])
        if not option.value:
            if value is not None:
                raise UsageError(f"{name} takes no value; write {name} alone.")
        elif value is None:
            if at == len(words) or (_is_option(words[at]) and not _is_number(words[at].text)):
                raise UsageError(f"{name} needs a value: {name} {option.value}")
            value, at = words[at].text, at + 1
        option.keep(found, value or "", name)
    return Options(**found)


def split(line: str) -> list[_Word]:
    """The words of a line: quotes keep spaces together, and so does a JSON object, quoted or not.

    Raises:
        UsageError: a quote that is not closed, or JSON that is not valid.
    """
    words: list[_Word] = []
    at, end = 0, len(line)
    while at < end:
        if line[at].isspace():
            at += 1
        elif line[at] == "{":
            at = _json_word(line, at, words)
        else:
            at = _plain_word(line, at, words)
    return words


def _json_word(line: str, at: int, words: list[_Word]) -> int:
    try:
        _, end = json.JSONDecoder().raw_decode(line, at)
    except ValueError as error:
        said = str(error).partition(":")[0].lower()
        raise UsageError(
            f'the settings {line[at : at + 60]!r} are not JSON ({said}); write them as {{"temperature": 0.2, "max_tokens": 50}}'
        ) from None
    words.append(_Word(line[at:end], quoted=False))
    return end


def _plain_word(line: str, at: int, words: list[_Word]) -> int:
    pieces: list[str] = []
    quoted = line[at] in "'\""
    while at < len(line) and not line[at].isspace():
        sign = line[at]
        if sign in "'\"" and (not pieces or pieces[-1].endswith("=")):
            close = line.find(sign, at + 1)
            if close < 0:
                raise UsageError(f"the quote that begins at {line[at : at + 30]!r} is not closed.")
            pieces.append(line[at + 1 : close])
            at = close + 1
        elif sign == "{" and pieces and pieces[-1] == "=":
            held: list[_Word] = []
            at = _json_word(line, at, held)
            pieces.append(held[0].text)
        else:
            pieces.append(sign)
            at += 1
    words.append(_Word("".join(pieces), quoted))
    return at


def joined(words: Sequence[str]) -> str:
    """Words as a line that `split` takes apart again."""
    return " ".join(word if word.startswith("{") or not any(sign.isspace() for sign in word) else _quoted(word) for word in words)


def _quoted(word: str) -> str:
    sign = '"' if "'" in word else "'"
    return f"{sign}{word}{sign}"


def options_help() -> list[tuple[str, str]]:
    """Each option as it is typed, and what it does."""
    return [(", ".join(one.names) + (f" {one.value}" if one.value else ""), one.help) for one in OPTIONS]


def option_names() -> list[str]:
    """Every name of every option."""
    return [name for one in OPTIONS for name in one.names]


def _is_option(word: _Word) -> bool:
    return not word.quoted and word.text.startswith("-") and word.text != "-"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def _name_and_value(text: str) -> tuple[str, str | None]:
    if text.startswith("--"):
        name, equals, value = text.partition("=")
        return name, value if equals else None
    return (text[:2], text[2:].removeprefix("=")) if len(text) > 2 and text[:2] in option_names() else (text, None)


def _option(name: str) -> _Option:
    for option in OPTIONS:
        if name in option.names:
            return option
    near = did_you_mean(name, option_names())
    raise UsageError(f"there is no option {name!r}.{near or ' `%ai help` lists them.'}")


def _keep_model(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
    if found.get("model"):
        raise UsageError(
            f"{text!r} is one word too many after the model {found['model']!r}: the prompt stands on the lines below, "
            "and a value with spaces needs quotes."
        )
    found["model"] = text.removeprefix("@")


def _keep_model_or_settings(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
    if not text.lstrip().startswith("{"):
        _keep_model(found, text, name)
        return
    try:
        settings = json.loads(text)
    except ValueError:
        raise UsageError(f'the settings after {name} are not JSON; write them as {{"temperature": 0.2, "max_tokens": 50}}') from None
    for key, value in settings.items():
        if _KEYS.search(key):
            raise UsageError(f"{key!r} does not belong in a notebook: keys stand as references in aiplat.toml. Nothing was sent.")
        if key in {"timeout", "request_timeout"}:
            found["timeout_s"] = _positive(str(value), name)
        elif key in {"model", "messages", "stream"}:
            raise UsageError(f"{key!r} is not a setting of {name}; name the model first in the line, and stream with --stream.")
        else:
            found["settings"][key] = value


def _one_of(key: str, allowed: Sequence[str], aliases: Mapping[str, str]) -> Callable[[dict[str, Any], str, str], None]:
    def keep(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
        word = aliases.get(text, text)
        if word not in allowed:
            raise UsageError(f"{name} is {text!r}; it takes one of {', '.join(allowed)}.{did_you_mean(text, allowed)}")
        if found.get(key, word) != word:
            raise UsageError(f"{name} {text} contradicts another option of this line; keep one of them.")
        found[key] = word

    return keep


def _keep_out(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
    if not text.isidentifier():
        raise UsageError(f"{name} is {text!r}; it takes the name of a variable, such as {name} answer")
    found["out"] = text


def _text(key: str) -> Callable[[dict[str, Any], str, str], None]:
    def keep(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
        found[key] = text

    return keep


def _flag(key: str, value: Json) -> Callable[[dict[str, Any], str, str], None]:
    def keep(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
        if key in found and found[key] != value:
            raise UsageError(f"{name} contradicts another option of this line; keep one of them.")
        found[key] = value

    return keep


def _positive(text: str, name: str) -> float:
    if not re.fullmatch(r"\d{1,7}(\.\d+)?", text) or float(text) == 0:
        raise UsageError(f"{name} is {text!r}; it takes a number greater than 0.")
    return float(text)


def _keep_timeout(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
    found["timeout_s"] = _positive(text, name)


def _keep_temperature(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
    if not re.fullmatch(r"\d(\.\d+)?|\.\d+", text):
        raise UsageError(f"{name} is {text!r}; it takes a number from 0, such as 0.2")
    # 0 stays 0, as Python code writes it, so that both ask the same question of the cache.
    found["settings"]["temperature"] = float(text) if "." in text else int(text)


def _whole(key: str, least: int) -> Callable[[dict[str, Any], str, str], None]:
    def keep(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
        if not re.fullmatch(r"-?\d{1,15}", text) or int(text) < least:
            raise UsageError(f"{name} is {text!r}; it takes a whole number of {least} or more.")
        found["settings"][key] = int(text)

    return keep


def _count(field: str, least: int) -> Callable[[dict[str, Any], str, str], None]:
    def keep(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
        if not re.fullmatch(r"-?\d{1,9}", text) or int(text) < least:
            raise UsageError(f"{name} is {text!r}; it takes a whole number of {least} or more.")
        found[field] = int(text)

    return keep


def _more(field: str) -> Callable[[dict[str, Any], str, str], None]:
    def keep(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
        if not text.strip():
            raise UsageError(f"{name} is empty.")
        found[field] = (*found.get(field, ()), text)

    return keep


def _names(field: str) -> Callable[[dict[str, Any], str, str], None]:
    def keep(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
        names = tuple(one.strip() for one in text.split(","))
        if not all(one.isidentifier() for one in names):
            raise UsageError(f"{name} is {text!r}; it takes names of functions, such as {name} search,convert")
        found[field] = (*found.get(field, ()), *names)

    return keep


def _keep_amount(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
    try:
        amount = Decimal(text.lstrip("£$€"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not _LEAST_AMOUNT <= amount < _MOST_AMOUNT:
        raise UsageError(f"{name} is {text!r}; it takes an amount of money above 0, such as {name} 0.05")
    found["max_cost"] = amount


def _elsewhere(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
    if name == "--api-key-name" and _SECRET.search(text):
        raise UsageError(
            f"{name} takes the name of a variable, never the key itself: keys stand as references in aiplat.toml. Nothing was sent."
        )
    found["ignored"] = (*found.get("ignored", ()), (name, _ELSEWHERE))


def _keep_stop(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
    found["settings"].setdefault("stop", []).append(text.replace("\\n", "\n").replace("\\t", "\t"))


def _keep_completion(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
    found["settings"]["completion"] = True


def _keep_tag(found: dict[str, Any], text: str, name: str) -> None:  # Any: as in `parse`
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"{name} is {text!r}; it takes a name and a value, such as {name} topic=refunds")
    found["tags"][key] = value


OPTIONS: tuple[_Option, ...] = (
    _Option(("-m", "--model", "--model-parameters"), "NAME|JSON", "the model; or settings as JSON", _keep_model_or_settings, repeats=True),
    _Option(("-f", "--format"), "FORMAT", "markdown, text, code, json, html or math", _one_of("format", FORMATS, {"md": "markdown"})),
    _Option(("-o", "--out"), "NAME", "keep the reply in this variable", _keep_out),
    _Option(("--prompt",), "NAME[@X]", "ask a saved prompt, by version or label; the cell gives its variables", _text("prompt")),
    _Option(("--system",), "TEXT", "a system message, in quotes", _text("system")),
    _Option(("--temperature",), "NUMBER", "0 repeats, higher varies", _keep_temperature),
    _Option(("--max-tokens",), "N", "the longest answer, in tokens", _whole("max_tokens", 1)),
    _Option(("--seed",), "N", "the seed of the sampling", _whole("seed", 0)),
    _Option(("--stop",), "TEXT", "end the answer at this text (\\n is a line's end); may be repeated", _keep_stop, repeats=True),
    _Option(("--timeout",), "SECONDS", "give up after so many seconds", _keep_timeout),
    _Option(("--cache",), "MODE", "auto, on, refresh or off", _one_of("cache", _CACHE, {})),
    _Option(("--fresh",), "", "ask again although the answer is known (--cache refresh)", _flag("cache", "refresh")),
    _Option(("--stream",), "", "show the answer as it comes (the default when somebody watches)", _flag("stream", True)),
    _Option(("--no-stream",), "", "show the answer at its end", _flag("stream", False)),
    _Option(("--completion",), "", "let the model continue the text, without a chat template (embedded models)", _keep_completion),
    _Option(("--quiet",), "", "show nothing; use it with -o", _flag("quiet", True)),
    _Option(("--tag",), "KEY=VALUE", "a tag for the ledger; may be repeated", _keep_tag, repeats=True),
    _Option(("--team",), "NAME", "the team that pays", _text("team")),
    _Option(("--project",), "NAME", "the project that pays", _text("project")),
    _Option(("--schema",), "NAME|JSON", "the answer must fit this pydantic model or JSON Schema", _text("schema")),
    _Option(("--tools",), "NAMES", "functions the model may ask for, with your consent", _names("tools"), repeats=True),
    _Option(("--image",), "NAME|PATH", "send an image with the text; may be repeated", _more("images"), repeats=True),
    _Option(("--file",), "PATH", "send a file with the text; may be repeated", _more("files"), repeats=True),
    _Option(("--replay",), "MODE", "auto, only (never spend), refresh or off", _one_of("replay", _REPLAY, {})),
    _Option(("--thread",), "NAME", "go on with this conversation", _text("thread")),
    _Option(("--history",), "N", "send so many earlier turns of the thread", _count("history", 0)),
    _Option(("--retries",), "N", "try so many times more after a failure", _count("retries", 0)),
    _Option(("--max-cost",), "AMOUNT", "send nothing that may cost more", _keep_amount),
    _Option(("--dry-run",), "", "show the request, its price and what the rules say; send nothing", _flag("dry_run", True)),
    _Option(("--show-request",), "", "show what was sent above the answer", _flag("show_request", True)),
    _Option(("--vs",), "MODEL|PROMPT", "ask this one too, side by side; may be repeated", _more("versus"), repeats=True),
    _Option(("--repeat",), "N", "ask each variant so many times", _count("repeat", 1)),
    _Option(("--each",), "NAME[.COLUMN]", "ask once a row; {row} or the column's name stands for it", _text("each")),
    _Option(("--into",), "NAME[.COLUMN]", "keep the answers of --each there", _text("into")),
    _Option(("--workers",), "N", "ask so many rows at once", _count("workers", 1)),
    _Option(("--bg",), "", "ask in the background and go on; -o keeps the handle", _flag("background", True)),
    _Option(("--eval",), "", "run the cell's text as code, and ask what it prints or gives", _flag("evaluate", True)),
    _Option(("--interpolate",), "", "braces name variables (as they do anyway)", _flag("interpolate", True)),
    _Option(("--no-interpolate",), "", "send all braces as they stand", _flag("interpolate", False)),
    _Option(("-r", "--reset"), "", "forget the thread before asking", _flag("reset", True)),
    _Option(("-n", "--region-name"), "NAME", "jupyter-ai's; the region stands in aiplat.toml", _elsewhere),
    _Option(("-q", "--request-schema"), "JSON", "jupyter-ai's; has no effect", _elsewhere),
    _Option(("-p", "--response-path"), "PATH", "jupyter-ai's; has no effect", _elsewhere),
    _Option(("--api-base",), "URL", "ask the provider of this address, which must be set up", _text("api_base")),
    _Option(("--api-key-name",), "NAME", "jupyter-ai's; the key's reference stands in aiplat.toml", _elsewhere),
    _Option(("--lenient",), "", "send braces that name no variable as they stand", _flag("lenient", True)),
)
"""Every option of `%%ai`, in the order of the help."""
