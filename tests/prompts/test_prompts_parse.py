"""Prompt files: what they hold, what is wrong with one and where, and one hash for one content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiplat_lab import prompts
from aiplat_lab.core.errors import PromptError
from aiplat_lab.core.types import Attribution
from aiplat_lab.prompts import Prompt

WHOLE = """\
---
name: classify
description: Which team a ticket goes to.
model: smollm2
settings:
  temperature: 0
  max_tokens: 8
variables:
  ticket:
    type: string
    description: what the customer wrote
    example: The parcel never came.
  teams: {type: array, default: [billing, delivery]}
  strict: {type: boolean, default: false}
output:
  schema:
    type: object
    properties: {team: {type: string}}
    required: [team]
evalset: ticket-classification
scorers: [label]
---

# system

You sort tickets into {{ teams|join(" or ") }}.

# user

{% if strict %}
Answer with one word.
{% endif %}
Ticket: {{ ticket }}

# assistant

Team:
"""


def test_all_that_a_file_holds() -> None:
    prompt = prompts.parse(WHOLE, source="x/classify.prompt.md")
    assert (prompt.name, prompt.model, prompt.evalset, prompt.scorers) == ("classify", "smollm2", "ticket-classification", ("label",))
    assert dict(prompt.settings) == {"temperature": 0, "max_tokens": 8}
    assert list(prompt.variables) == ["ticket", "teams", "strict"]
    assert prompt.variables["ticket"].required and not prompt.variables["teams"].required
    assert prompt.output_schema is not None and prompt.output_schema["required"] == ["team"]
    assert [block.role for block in prompt.messages] == ["system", "user", "assistant"]
    system, user, assistant = prompt.render({"ticket": "It broke."})
    assert (system.role, system.content) == ("system", "You sort tickets into billing or delivery.")
    assert user.content == "Ticket: It broke." and assistant.content == "Team:"
    assert prompt.render({"ticket": "x", "strict": True})[1].content == "Answer with one word.\nTicket: x"
    assert prompt.text == WHOLE and prompt.version == "" and len(prompt.content_hash) == 64


def test_a_request_says_which_prompt_it_is() -> None:
    prompt = prompts.parse(WHOLE)
    asked = prompt.request({"ticket": "x"}, settings={"temperature": 1}, attribution=Attribution(team="risk"))
    wanted = {"type": "json_schema", "json_schema": {"name": "classify", "schema": prompt.output_schema}}
    assert (asked.model, dict(asked.settings)) == ("smollm2", {"temperature": 1, "max_tokens": 8, "response_format": wanted})
    who = asked.attribution
    assert (who.team, who.prompt_name, who.prompt_version) == ("risk", "classify", f"sha256:{prompt.content_hash[:12]}")
    assert prompt.request({"ticket": "x"}, model="other").model == "other"


def test_a_text_without_front_matter_is_one_user_message() -> None:
    prompt = prompts.parse("Summarise {{ text }} in {{ lines }} lines", source="notes/short-summary.prompt.md")
    assert prompt.name == "short-summary" and set(prompt.variables) == {"text", "lines"}
    assert all(one.required and one.type == "string" for one in prompt.variables.values())
    assert prompt.render({"text": "a", "lines": "2"})[0].content == "Summarise a in 2 lines"


def test_a_heading_can_be_escaped_and_others_are_text() -> None:
    prompt = prompts.parse("# user\n\\# system\n# Notes\n# User\n  # user")
    assert [block.text for block in prompt.messages] == ["# system\n# Notes\n# User\n  # user"]


def test_yaml_is_read_by_the_rules_of_1_2() -> None:
    front = "name: x\nvariables:\n  answer: {enum: [yes, no, on], default: no}\n  at: {default: 2026-11-26}\n  n: {default: 12:30}"
    prompt = prompts.parse(f"---\n{front}\n---\n{{{{ answer }}}}")
    assert prompt.variables["answer"].enum == ("yes", "no", "on") and prompt.variables["answer"].default == "no"
    assert (prompt.variables["at"].default, prompt.variables["n"].default) == ("2026-11-26", "12:30")


FRONT = "---\nname: demo\nvariables:\n  text: {type: string}\n---\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("---\nname: demo\nmodle: x\n---\nhi", r"demo.prompt.md:3:1: .*no key 'modle'\. Did you mean model\?"),
        ("---\nname: demo\nsettings:\n  api_key: x\n---\nhi", r"demo.prompt.md:4:3: 'api_key' does not belong in a prompt"),
        ("---\nname: demo\nsettings: fast\n---\nhi", r":3:1: settings must be names and values"),
        ("---\nname: demo\nname: demo\n---\nhi", r":3:1: the key 'name' stands twice"),
        ("---\nname: a: b\n---\nhi", r":2:8: the front matter is not YAML: mapping values are not allowed here"),
        ("---\nname: [a\n---\nhi", r"demo.prompt.md:2:9: the front matter is not YAML: expected"),
        ("---\n- a\n---\nhi", r":2:1: the front matter must be names and values"),
        ("---\nname: demo\nhi", r"demo.prompt.md:1:1: the front matter that begins here does not end"),
        ("---\nname: &a demo\nmodel: *a\n---\nhi", r":3:8: .*aliases"),
        ("---\nname: !!python/object/apply:os.system [id]\n---\nhi", r":2:7: the tag .* is not used here"),
        ("---\nname: Big Name\n---\nhi", r":2:1: 'Big Name' cannot be a prompt's name.*Write 'big-name'"),
        ("---\nname: demo\nvariables:\n  a: {type: strin}\n---\nhi", r":4:7: .*'strin', which is none\. Did you mean string\?"),
        ("---\nname: demo\nvariables:\n  a: {typ: string}\n---\nhi", r":4:7: the variable 'a' has no key 'typ'\. Did you mean type\?"),
        (
            "---\nname: demo\nvariables:\n  a: {type: integer, default: x}\n---\nhi",
            r"default of the variable 'a' holds 'x', which is no integer",
        ),
        (
            "---\nname: demo\nvariables:\n  a: {enum: [x], default: y}\n---\nhi",
            r"default of the variable 'a' is 'y', which is not in its enum",
        ),
        ("---\nname: demo\nvariables:\n  a: {required: true, default: y}\n---\nhi", r"is required and has a default"),
        ("---\nname: demo\nvariables:\n  _a: string\n---\nhi", r":4:3: '_a' cannot be a variable"),
        (
            "---\nname: demo\noutput: {schema: {type: objct}}\n---\nhi",
            r"demo.prompt.md:3:19: the output schema is wrong: there is no type 'objct'",
        ),
        ("---\nname: demo\nvariables:\n  loop: string\n---\nhi", r":4:3: 'loop' means something else"),
        ("---\nname: demo\n---\n{{ self }}", r"demo.prompt.md:4:4: 'self' means something else"),
        ("---\nname: demo\n---\nOh {{ loop.index }}", r"demo.prompt.md:4:7: 'loop' means something else"),
        ("---\nname: demo\n---\n{{ größe }}", r"demo.prompt.md:4:4: 'größe' cannot be a variable"),
        ("---\nname: demo\noutput: {shema: {}}\n---\nhi", r":3:10: output has no key 'shema'\. Did you mean schema\?"),
        ("---\nname: demo\nscorers: exact\n---\nhi", r":3:1: scorers must be a list"),
        (FRONT + "hello\n# user\nhi", r"demo.prompt.md:6:1: the text 'hello' stands before the first message"),
        (FRONT + "# user\n\n# assistant\nx", r":6:1: the user message is empty"),
        (FRONT + "# user\nx\n# system\ny", r":8:1: the system message must be the first"),
        (FRONT + "# system\ny", r":7:1: there is no user message"),
        (FRONT, r"there is no message"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(PromptError, match=told) as caught:
        prompts.parse(text, source="demo.prompt.md")
    assert "\n" not in str(caught.value) and len(str(caught.value).encode()) <= 800


@pytest.mark.parametrize(
    ("body", "line", "column", "told"),
    [
        ("# user\nHello {{ text", 7, 10, "expected 'end of print statement'"),
        ("# user\nHello {{ text }", 7, 15, "unexpected '}'"),
        ("# user\n{% if text %}x", 7, 14, "endif"),
        ("# user\n\n\nA line\n  {{ text|uper }}", 10, 11, "no filter 'uper' in prompts. Did you mean upper?"),
        ("# system\nok\n# user\n{{ txet }}", 9, 4, "no variable 'txet'. Did you mean text?"),
        ("# user\n{{ text }} and {{ a b }}", 7, 21, "got 'b'"),
        ("# user\n{% fro x in text %}", 7, 4, "Encountered unknown tag 'fro'"),
        ("# user\n{{ ?? }}", 7, 4, "unexpected char '?'"),
        ("# user\nx {{ text.upper() }}", 7, 16, "nothing is called in a prompt"),
        ("# user\n{{ text is strng }}", 7, 9, "no test 'strng' in prompts. Did you mean string?"),
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_mistake_in_a_template_has_file_line_and_column(body: str, line: int, column: int, told: str, ends: str) -> None:
    with pytest.raises(PromptError) as caught:
        prompts.parse((FRONT + body).replace("\n", ends), source="demo.prompt.md")
    assert str(caught.value).startswith(f"demo.prompt.md:{line}:"), str(caught.value)
    assert told in str(caught.value)
    assert (caught.value.details["line"], caught.value.details["column"]) == (line, column), str(caught.value)


def test_another_encoding_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "latin.prompt.md"
    path.write_bytes("---\nname: latin\n---\nR\u00e9sum\u00e9 of {{ text }}".encode("latin-1"))
    with pytest.raises(PromptError, match=r"latin.prompt.md:4:2: the byte 0xe9 is not UTF-8; save the file as UTF-8"):
        prompts.load(path)
    path.write_bytes("Hello".encode("utf-16"))
    with pytest.raises(PromptError, match="UTF-16; save it as UTF-8"):
        prompts.load(path)
    path.write_bytes(b"\xef\xbb\xbf---\r\nname: latin\r\n---\r\nSummarise {{ text }}\r\n")
    assert prompts.load(path).messages[0].text == "Summarise {{ text }}"
    with pytest.raises(PromptError, match="cannot be read: No such file"):
        prompts.load(tmp_path / "none.prompt.md")


# --- values -----------------------------------------------------------------------------------------------------------

TYPED = prompts.parse(
    """---
name: typed
variables:
  text: {type: string, description: the text}
  count: {type: integer}
  tone: {type: string, enum: [plain, formal], default: plain}
  share: {type: number, required: false}
  tags: {type: array, default: []}
  facts: {type: object, required: false}
  loud: {type: boolean, default: false}
---
{{ text }}|{{ count }}|{{ tone }}|{{ share }}|{{ tags|join(",") }}|{{ facts }}|{{ loud }}""",
    source="typed",
)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, r"typed: it needs text \(a text: the text\) and count \(a whole number\)\. Nothing was sent\."),
        ({"text": "x"}, r"it needs count \(a whole number\)"),
        ({"text": 3, "count": 1}, r"text must be a text, not the number 3"),
        ({"text": "x", "count": "1"}, r"count must be a whole number, not the text '1'"),
        ({"text": "x", "count": True}, r"count must be a whole number, not True"),
        ({"text": "x", "count": 1.5}, r"count must be a whole number, not the number 1\.5"),
        ({"text": "x", "count": 1, "tone": "forml"}, r"tone is 'forml'; it takes one of plain, formal\. Did you mean formal\?"),
        ({"text": "x", "count": 1, "toen": "formal"}, r"there is no variable 'toen'\. Did you mean tone, text\?"),
        ({"text": "x", "count": 1, "share": float("nan")}, r"share must be a number"),
        ({"text": "x", "count": 1, "tags": "a,b"}, r"tags must be a list, not the text 'a,b'"),
        ({"text": "x", "count": 1, "facts": [1]}, r"facts must be an object"),
        ({"text": "x", "count": 1, "facts": {1: 2}}, r"facts must be an object"),
        ({"text": object(), "count": 1}, r"text must be a text, and a object is none"),
    ],
)
def test_values_are_checked_before_anything_is_sent(values: dict[str, object], told: str) -> None:
    with pytest.raises(PromptError, match=told):
        TYPED.request(values)


def test_defaults_are_filled_in_and_what_is_not_given_writes_nothing() -> None:
    assert TYPED.render({"text": "x", "count": 2})[0].content == "x|2|plain||||false"
    given = {"text": "x", "count": 2, "share": 1, "tags": ("a", "b"), "facts": {"a": ["é"]}, "loud": True}
    assert TYPED.render(given)[0].content == 'x|2|plain|1|a,b|{"a": ["é"]}|true'


def test_values_of_numpy_and_subclasses_become_plain_data() -> None:
    numpy = pytest.importorskip("numpy")

    class Loud(str):
        def __str__(self) -> str:
            return "never"

    checked = TYPED.check({"text": Loud("x"), "count": numpy.int64(3), "share": numpy.float64(0.5), "tags": numpy.array([1, 2])})
    assert (checked["text"], checked["count"], checked["share"], checked["tags"]) == ("x", 3, 0.5, [1, 2])
    assert {type(value) for value in checked.values()} <= {str, int, float, list, bool, type(None)}


# --- one content, one hash --------------------------------------------------------------------------------------------

REORDERED = """\
---
scorers: [label]
evalset: "ticket-classification"
variables:
  strict: {default: False, type: bool}
  teams: {default: ["billing", 'delivery'], type: list}
  ticket:
    example: The parcel never came.
    type: text
    required: true
    description: >
      what the customer wrote
output: {schema: {required: [team], properties: {team: {type: string}}, type: object}}
settings: {max_tokens: 8.0, temperature: 0.0}
model: smollm2
description: 'Which team a ticket goes to.'
name: classify
---


# system
You sort tickets into {{ teams|join(" or ") }}.


# user__

{% if strict %}
Answer with one word.__
{% endif %}
Ticket: {{ ticket }}\t
# assistant

Team:


""".replace("__", "   ")


@pytest.mark.parametrize(
    "change", [lambda t: t, lambda t: t.replace("\n", "\r\n"), lambda t: t.replace("\n", "\r"), lambda t: "\ufeff" + t]
)
def test_the_hash_is_the_same_on_every_platform_and_in_every_order(change) -> None:
    assert prompts.parse(change(REORDERED)).content_hash == prompts.parse(WHOLE).content_hash


def test_the_hash_itself_stays_what_it_is() -> None:
    """Saved versions are found by it: a change here makes every saved prompt look new."""
    assert prompts.parse("---\nname: a\n---\nHello {{ who }}").content_hash.startswith(HASH)


HASH = "ca2de80eb8548872"


def test_another_content_has_another_hash_and_another_name_has_not() -> None:
    one = prompts.parse(WHOLE)
    assert prompts.parse(WHOLE.replace("name: classify", "name: sort")).content_hash == one.content_hash
    for old, new in [
        ("one word", "a word"),
        ("0\n", "0.5\n"),
        ("smollm2", "other"),
        ("false", "true"),
        ("[label]", "[exact]"),
        ("came", "come"),
    ]:
        assert prompts.parse(WHOLE.replace(old, new, 1)).content_hash != one.content_hash, old


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.integers() | st.booleans() | st.text(max_size=5), max_size=4), st.randoms())
def test_the_order_of_settings_makes_no_difference(given_settings: dict[str, object], random) -> None:
    items = list(given_settings.items())
    random.shuffle(items)
    one, other = [prompts.parse(f"---\nname: x\nsettings: {json.dumps(dict(pairs))}\n---\nhi") for pairs in (given_settings.items(), items)]
    assert one.content_hash == other.content_hash and dict(one.settings) == given_settings


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_whatever_text_is_read_or_refused_in_one_line(text: str) -> None:
    for whole in (text, f"---\n{text}\n---\nhi", f"---\nname: x\n---\n# user\n{text}"):
        try:
            assert isinstance(prompts.parse(whole, source="x.prompt.md"), Prompt)
        except PromptError as error:
            assert "\n" not in error.message


def test_a_file_that_would_grow_or_nest_without_end_is_refused() -> None:
    deep = "[" * 5000
    for text in (f"---\nname: x\nscorers: {deep}\n---\nhi", "{{ " + "(" * 5000, "{% if x %}" * 3000, "x" * 500_001):
        with pytest.raises(PromptError):
            prompts.parse(text, source="x.prompt.md")


def test_the_library_is_in_the_package_and_can_be_asked() -> None:
    import aiplat_lab

    shipped = sorted((Path(aiplat_lab.__file__).parent / "prompts" / "library").glob("*.prompt.md"))
    assert [path.name.removesuffix(".prompt.md") for path in shipped] == list(prompts.library_names())
    for path in shipped:
        prompt = prompts.library(path.name.removesuffix(".prompt.md"))
        assert prompt.name == path.name.removesuffix(".prompt.md") and prompt.description and prompt.source.startswith("library:")
        examples = {name: one.example for name, one in prompt.variables.items() if one.example is not None}
        assert prompt.render(examples)[-1].content
    with pytest.raises(PromptError, match="the library has no prompt 'sumarise'"):
        prompts.library("sumarise")
