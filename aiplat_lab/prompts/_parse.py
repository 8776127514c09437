"""Reads a `.prompt.md` file: front matter between `---` lines, then messages under `# system`, `# user` and `# assistant`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from aiplat_lab.core.errors import PromptError, did_you_mean, shorten
from aiplat_lab.core.prompts import check_name
from aiplat_lab.core.types import Json
from aiplat_lab.prompts import _schema, _template
from aiplat_lab.prompts._front import MOST_CHARS, Front, Place, read
from aiplat_lab.prompts._prompt import ROLES, Block, Prompt, Role, hashed
from aiplat_lab.prompts._variables import ALIASES, TYPES, Type, Variable, fits, same

SUFFIX = ".prompt.md"
_KEYS = ("name", "description", "model", "settings", "variables", "output", "evalset", "scorers")
_VARIABLE_KEYS = ("type", "required", "default", "description", "example", "enum")
_NOT_SETTINGS = ("model", "messages", "stream")
_SECRET = re.compile(r"api_?key|authorization|secret|token$|password", re.IGNORECASE)
_HEADING = re.compile(rf"# ({'|'.join(ROLES)})[ \t]*")
_ESCAPED = re.compile(rf"\\(?=# (?:{'|'.join(ROLES)})[ \t]*$)")
_RESERVED = frozenset({"loop", "self", "super", "caller", "varargs", "kwargs", "true", "false", "none", "True", "False", "None"})
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class _Parts(NamedTuple):
    front: str
    body: list[str]
    body_line: int
    """The file's line on which the body begins."""


def load(path: Path | str) -> Prompt:
    """The prompt of a file.

    Raises:
        PromptError: the file cannot be read, is not UTF-8, or holds a mistake; the text names file, line and column.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PromptError(f"{path} cannot be read: {error.strerror or error}") from None
    return parse(decode(raw, str(path)), source=str(path))


def decode(raw: bytes, source: str) -> str:
    """The text of a file in UTF-8.

    Raises:
        PromptError: it is in another encoding; the text says where that shows.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise PromptError(f"{source} is in UTF-16; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise PromptError(
            f"{source}:{line}:{column}: the byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8",
            source=source, line=line, column=column,
        ) from None  # fmt: skip


def parse(text: str, *, source: str = "") -> Prompt:
    """The prompt that a text is.

    Args:
        text: the content of a `.prompt.md` file.
        source: the file it came from, for messages; its name is the prompt's where the front matter gives none.

    Raises:
        PromptError: a mistake; the text names file, line and column.
    """
    source = source or "prompt"
    if len(text) > MOST_CHARS:
        raise PromptError(f"{source} holds {len(text):,} signs; a prompt has at most {MOST_CHARS:,}")
    parts = _split(text.removeprefix("\ufeff"), source)
    front = read(parts.front, source=source, first_line=2)
    data = {} if front.data is None else front.data
    if not isinstance(data, dict):
        front.at().fail(f"the front matter must be names and values, such as `name: summarise`, not {shorten(repr(data), 60)}")
    _known_keys(data, _KEYS, front, what="the front matter")
    messages = _messages(parts, source)
    variables = _variables(front, messages, source)
    prompt = Prompt(
        name=_name(front, source),
        messages=messages,
        variables=variables,
        model=_text(front, "model"),
        settings=_settings(front),
        output_schema=_output(front),
        description=_text(front, "description").strip(),
        evalset=_text(front, "evalset"),
        scorers=_scorers(front),
        text=text,
        source=source,
    )
    return replace(prompt, content_hash=hashed(prompt))


# --- the file ---------------------------------------------------------------------------------------------------------


def _split(text: str, source: str) -> _Parts:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    if lines[0] != "---":
        return _Parts("", lines, 1)
    for index, line in enumerate(lines[1:], start=1):
        if line == "---":
            return _Parts("\n".join(lines[1:index]), lines[index + 1 :], index + 2)
    Place(source, 1, 1).fail("the front matter that begins here does not end: put a line of three dashes (---) after it")


def _messages(parts: _Parts, source: str) -> tuple[Block, ...]:
    heads = [(index, found[1]) for index, line in enumerate(parts.body) if (found := _HEADING.fullmatch(line))]
    first = heads[0][0] if heads else len(parts.body)
    for index, line in enumerate(parts.body[:first] if heads else ()):
        if line:
            Place(source, parts.body_line + index, 1).fail(
                f"the text {shorten(line, 40)!r} stands before the first message: put `# system` or `# user` on a line above it"
            )
    if not heads:
        heads = [(-1, "user")]
    blocks: list[Block] = []
    for (index, role), after in zip(heads, [*(at for at, _ in heads[1:]), len(parts.body)], strict=True):
        block = _block(role, parts.body[index + 1 : after], parts.body_line + index + 1)
        place = Place(source, max(parts.body_line + index, 1), 1)
        if not block.text:
            place.fail(
                f"the {role} message is empty" if index >= 0 else "there is no message: put `# user` and a text below the front matter"
            )
        if role == "system" and blocks:
            place.fail("the system message must be the first one")
        blocks.append(block)
    if blocks[-1].role == "system":
        Place(source, blocks[-1].line, 1).fail("there is no user message: put `# user` and a text below the system message")
    return tuple(blocks)


def _block(role: str, lines: list[str], line: int) -> Block:
    while lines and not lines[0]:
        lines, line = lines[1:], line + 1
    while lines and not lines[-1]:
        lines = lines[:-1]
    known: Role = next(one for one in ROLES if one == role)
    return Block(known, "\n".join(_ESCAPED.sub("", one) for one in lines), line)


# --- the front matter -------------------------------------------------------------------------------------------------


def _known_keys(data: Mapping[str, Json], known: tuple[str, ...], front: Front, *way: str, what: str) -> None:
    for key in data:
        if key not in known:
            near = did_you_mean(key, known) or f" It has {', '.join(known)}."
            front.at(*way, key).fail(f"{what} has no key {shorten(key, 60)!r}.{near}")


def _name(front: Front, source: str) -> str:
    name = (front.data or {}).get("name")
    given = name if name is not None else Path(source).name.removesuffix(SUFFIX).removesuffix(".md")
    try:
        return check_name(str(given))
    except PromptError as error:
        if name is None:
            raise PromptError(
                f"{source}: give the prompt a name in its front matter, such as `name: summarise` ({error.message})"
            ) from None
        front.at("name").fail(error.message)


def _text(front: Front, key: str) -> str:
    value = (front.data or {}).get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        front.at(key).fail(f"{key} must be a text, not {shorten(repr(value), 60)}")
    return value


def _mapping(front: Front, key: str) -> dict[str, Json]:
    value = (front.data or {}).get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        front.at(key).fail(f"{key} must be names and values, one on a line below it, not {shorten(repr(value), 60)}")
    return value


def _settings(front: Front) -> dict[str, Json]:
    settings = _mapping(front, "settings")
    for key in settings:
        if _SECRET.search(key):
            front.at("settings", key).fail(f"{key!r} does not belong in a prompt: keys stand as references in aiplat.toml")
        if key in _NOT_SETTINGS:
            front.at("settings", key).fail(f"{key!r} is not a setting of a prompt; the model stands above, beside `settings`")
    return settings


def _output(front: Front) -> Mapping[str, Json] | None:
    output = _mapping(front, "output")
    _known_keys(output, ("schema",), front, "output", what="output")
    schema = output.get("schema")
    if schema is None:
        return None
    problem = _schema.problem(schema)
    if problem is not None:
        front.at("output", "schema", *problem.way).fail(f"the output schema is wrong: {problem.text}")
    found: Mapping[str, Json] = schema
    return found


def _scorers(front: Front) -> tuple[Json, ...]:
    scorers = (front.data or {}).get("scorers")
    if scorers is None:
        return ()
    if not isinstance(scorers, list) or not all(isinstance(one, str | dict) for one in scorers):
        front.at("scorers").fail("scorers must be a list of names, such as [exact, latency]")
    return tuple(scorers)


# --- variables --------------------------------------------------------------------------------------------------------


def _variables(front: Front, messages: tuple[Block, ...], source: str) -> dict[str, Variable]:
    used: dict[str, Place] = {}
    for block in messages:
        for name, (line, column) in _template.check(block.text, source=source, first_line=block.line).names.items():
            used.setdefault(name, Place(source, line, column))
    if "variables" not in (front.data or {}):
        for name, place in used.items():
            _check_name(name, place)
        return {name: Variable(name=name) for name in used}
    variables = {name: _variable(front, name, spec) for name, spec in _mapping(front, "variables").items()}
    for name, place in used.items():
        if name not in variables:
            near = did_you_mean(name, variables) or f" Declare it in the front matter, below `variables:`, as `{name}: {{type: string}}`."
            place.fail(f"there is no variable {name!r}.{near}")
    return variables


def _variable(front: Front, name: str, spec: Json) -> Variable:
    way = ("variables", name)
    _check_name(name, front.at(*way))
    spec = {"type": spec} if isinstance(spec, str) else {} if spec is None else spec
    if not isinstance(spec, dict):
        front.at(*way).fail(f"the variable {name!r} must be a type or a mapping such as {{type: string}}, not {shorten(repr(spec), 60)}")
    _known_keys(spec, _VARIABLE_KEYS, front, *way, what=f"the variable {name!r}")
    kind = _type(front, way, spec.get("type", "string"))
    default, required = spec.get("default"), spec.get("required")
    if required is None:
        required = default is None
    if not isinstance(required, bool):
        front.at(*way, "required").fail(f"required of the variable {name!r} must be true or false")
    if required and default is not None:
        front.at(*way, "default").fail(f"the variable {name!r} is required and has a default; keep one of them")
    enum = _values(front, way, spec, kind)
    said = spec.get("description") or ""
    if not isinstance(said, str):
        front.at(*way, "description").fail(f"description of the variable {name!r} must be a text")
    return Variable(
        name=name, type=kind, required=required, default=default, description=said.strip(), example=spec.get("example"), enum=enum
    )


def _check_name(name: str, place: Place) -> None:
    if not _VARIABLE.fullmatch(name):
        place.fail(f"{shorten(name, 60)!r} cannot be a variable: it takes letters, digits and _, and begins with a letter")
    if name in _RESERVED:
        place.fail(f"{name!r} means something else in a template; give the variable another name")


def _values(front: Front, way: tuple[str, ...], spec: Mapping[str, Json], kind: Type) -> tuple[Json, ...]:
    """The values a variable may take, with its default and example among them."""
    name, enum = way[-1], spec.get("enum")
    if enum is not None and (not isinstance(enum, list) or not enum):
        front.at(*way, "enum").fail(f"enum of the variable {name!r} must be a list of the values it may take")
    for key, values in (("enum", enum or []), ("default", [spec.get("default")]), ("example", [spec.get("example")])):
        for value in values:
            if value is not None and not fits(value, kind):
                front.at(*way, key).fail(f"{key} of the variable {name!r} holds {shorten(repr(value), 60)}, which is no {kind}")
            if value is not None and enum and not any(same(value, one) for one in enum):
                front.at(*way, key).fail(f"{key} of the variable {name!r} is {shorten(repr(value), 60)}, which is not in its enum")
    return tuple(enum or ())


def _type(front: Front, way: tuple[str, ...], given: Json) -> Type:
    word = ALIASES.get(given, given) if isinstance(given, str) else given
    kind = next((one for one in TYPES if one == word), None)
    if kind is None:
        near = did_you_mean(str(given), TYPES) or f" There are {', '.join(TYPES)}."
        front.at(*way, "type").fail(f"the variable {way[-1]!r} has the type {shorten(str(given), 40)!r}, which is none.{near}")
    return kind
