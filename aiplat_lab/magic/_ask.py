"""`ask()`: a cell as a function of Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.errors import UsageError, shorten
from aiplat_lab.magic import _cell, _dry
from aiplat_lab.magic._options import joined

if TYPE_CHECKING:
    from aiplat_lab.magic._magics import AiMagics
    from aiplat_lab.magic._reply import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What goes with a prompt, as objects of Python."""

    model: str = ""
    schema: Any = None  # Any: a pydantic model or a JSON Schema
    tools: Sequence[Callable[..., Any]] = ()  # Any: the user's functions
    images: Sequence[Any] = ()  # Any: pictures of the user's libraries
    files: Sequence[Any] = ()  # Any: paths
    settings: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON

    def words(self) -> tuple[list[str], dict[str, Any]]:  # Any: the user's values
        """The words of a cell's first line that say the same, and the variables that they name.

        Raises:
            UsageError: an argument is not what it must be.
        """
        words = [self.model] if self.model else []
        names: dict[str, Any] = {}
        if self.schema is not None:
            name = getattr(self.schema, "__name__", "") if isinstance(self.schema, type) else ""
            names[name or "answer"] = self.schema
            words += ["--schema", name or "answer"]
        for function in self.tools:
            name = getattr(function, "__name__", "")
            if not name.isidentifier():
                raise UsageError(f"tools takes functions with a name of their own, not {shorten(repr(function), 80)}")
            names[name] = function
            words += ["--tools", name]
        for number, image in enumerate((self.images,) if isinstance(self.images, str | bytes) else self.images):
            names[f"image_{number}"] = image
            words += ["--image", f"image_{number}"]
        for path in (self.files,) if isinstance(self.files, str) else self.files:
            words += ["--file", str(path)]
        if self.settings:
            try:
                words += ["-m", json.dumps(dict(self.settings))]
            except TypeError as error:
                raise UsageError(f"the settings hold something that is not JSON: {error}") from None
        return words, names


def ask(magics: AiMagics, prompt: str, asked: Asked, named: Mapping[str, Any], *, allow_tools: bool) -> Reply:  # Any: values of options
    """The answer.

    Args:
        magics: the magics of this kernel.
        prompt: the text, sent as it stands.
        asked: what goes with it.
        named: options that a cell has under the same names; those that are None or empty are left out.
        allow_tools: whether functions run unasked.

    Raises:
        AiplatError: as a cell raises it.
    """
    words, names = asked.words()
    for option, value in named.items():
        if value is not None and value != "":
            words += [option, str(value)]
    session = magics.session()
    cell = _cell.ready(magics, joined([*words, "--quiet", "--no-stream"]), "", also=names, said=prompt)
    request = cell.request
    if cell.options.max_cost is not None:
        request = _dry.within(session, request, cell.options.max_cost)
    before = set(session.allowed)
    if allow_tools:
        session.allowed.update(cell.options.tools)
    try:
        attribution = replace(request.attribution, surface="python")
        return _cell.Cell(session, cell.options, cell.here, replace(request, attribution=attribution), cell.steps, cell.depends).run()
    finally:
        session.allowed.intersection_update(before)
