"""From the winner of a comparison to a draft in the prompt registry, with where it comes from."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiplat_lab import prompts
from aiplat_lab.client import Client
from aiplat_lab.core.errors import PromptError, UsageError, did_you_mean
from aiplat_lab.prompts import LIBRARY, Prompt
from aiplat_lab.widgets._variants import Variant

if TYPE_CHECKING:
    from aiplat_lab.widgets._experiment import Experiment

DRAFT = "draft"
_LONGEST_NAME = 50
_FRONT = re.compile(r"\A---[ \t]*\n(?P<front>.*?\n)?---[ \t]*\n(?P<body>.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """What promoting a variant made."""

    variant: str
    name: str
    version: str
    label: str
    new: bool
    """Whether a version was made; content that was saved before makes none."""

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


def promoted(experiment: Experiment, variant: str, *, name: str, label: str, client: Client) -> Promoted:
    """Saves a variant as a version and points the label at it; errors as by `Experiment.promote`."""
    plan = experiment.plan
    verdict = experiment.verdict()
    if not variant:
        raise UsageError(f"there is no winner yet, so name the variant to keep: {', '.join(plan.names)}. {verdict.sentence}")
    if variant not in plan.names:
        raise UsageError(f"there is no variant {variant!r}.{did_you_mean(variant, plan.names)} There are {', '.join(plan.names)}.")
    side = next(one for one in plan.variants if one.name == variant)
    texts = {one.text for one in plan.inputs}
    draft = _draft(side, name or _own_name(side) or _slug(plan.name), next(iter(texts)) if len(texts) == 1 else "")
    why = f"variant {variant!r} of A/B experiment {plan.id}: {verdict.sentence}"
    saved = prompts.save(draft, f"promoted from {why}", client)
    prompts.label(saved.name, label, saved.version, f"promoted from {why}", client)
    return Promoted(variant=variant, name=saved.name, version=saved.version, label=label, new=saved.new)


def _own_name(side: Variant) -> str:
    return "" if isinstance(side.prompt, str) else side.prompt.name


def _slug(text: str) -> str:
    """A name for the registry, out of any words."""
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST_NAME].strip("-")
    return found if re.match(r"[a-z]", found) else f"winner-{found}".strip("-")


def _draft(side: Variant, name: str, only_input: str) -> Prompt:
    """The variant as a prompt of this name, with its model and its settings."""
    if not isinstance(side.prompt, str):
        return _with(side.prompt, name, side)
    # Where one input alone was asked, and no prompt around it, that text is the prompt.
    body = side.prompt or (_literal(only_input) if only_input else "{{ input }}")
    template = prompts.parse(body)
    if side.prompt and not template.variables:
        body = f"{body}\n\n{{{{ input }}}}"
    if side.system:
        body = f"# system\n\n{_plain(_literal(side.system))}\n\n# user\n\n{_plain(body) if not side.prompt else body}"
    return _with(prompts.parse(f"---\nname: {name}\n---\n{body}\n"), name, side)


def _with(prompt: Prompt, name: str, side: Variant) -> Prompt:
    """A prompt under its name, with the model and the settings of a variant; unchanged where those are its own."""
    model = side.model or prompt.model
    settings = {**prompt.settings, **side.settings}
    own = prompt.name == name and not prompt.source.startswith(LIBRARY)
    if own and model == prompt.model and settings == dict(prompt.settings):
        return prompt
    match = _FRONT.match(prompt.text.replace("\r\n", "\n"))
    front, body = (match["front"] or "", match["body"]) if match else ("", prompt.text)
    kept = _without(front, ("name", "model", "settings"))
    lines = [f"name: {name}", *([f"model: {json.dumps(model)}"] if model else [])]
    lines += [f"settings: {json.dumps(settings, ensure_ascii=False)}"] if settings else []
    made = prompts.parse("\n".join(["---", *lines, *kept, "---", body]))
    if made.messages != tuple(replace(one, line=new.line) for one, new in zip(prompt.messages, made.messages, strict=False)):
        raise PromptError(f"{prompt.reference} could not be written with another model or settings; save it by hand from its file")
    return made


def _without(front: str, keys: tuple[str, ...]) -> list[str]:
    """The lines of a front matter without those of some keys of the first level."""
    found: list[str] = []
    dropped = False
    for line in front.splitlines():
        if line and not line[0].isspace() and not line.startswith(("#", "-", "}", "]")):
            dropped = line.partition(":")[0].strip().strip("'\"") in keys
        if not dropped:
            found.append(line)
    return found


def _literal(text: str) -> str:
    """A text in which nothing is a template."""
    return f"{{% raw %}}{text}{{% endraw %}}" if re.search(r"\{[{%#]", text) and "endraw" not in text else _plain(text)


def _plain(text: str) -> str:
    """A text in which no line opens a message."""
    return re.sub(r"(?m)^(#\s*(?:system|user|assistant)\s*)$", r"\\\1", text)
