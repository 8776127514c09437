"""`%%ai --prompt`: a saved prompt with values of the cell and of the notebook."""

from __future__ import annotations

import pytest
from magickit import MIME, Lab

from aiplat_lab import prompts
from aiplat_lab.core.errors import PromptError, UnknownModel, UsageError

ONE = """---
name: {name}
model: {model}
settings: {{temperature: 0.5, max_tokens: 40}}
variables:
  text: {{type: string, description: the text}}
  tone: {{type: string, default: plain, enum: [plain, formal]}}
---
# system
Be brief.
# user
{tag} {{{{ tone }}}}: {{{{ text }}}}
"""
MANY = """---
name: {name}
model: echo
variables:
  text: string
  question: string
  rows: {{type: array, default: []}}
  facts: {{type: object, required: false}}
  year: {{type: integer, default: 2026}}
---
{{{{ question }}}}|{{{{ text }}}}|{{{{ rows|join("+") }}}}|{{{{ facts }}}}|{{{{ year }}}}
"""


@pytest.fixture
def saved(lab: Lab, request: pytest.FixtureRequest) -> str:
    """A prompt of one required variable, under a name of the test's own."""
    name = request.node.name.split("[")[0].replace("test_", "").replace("_", "-")[:40].strip("-")
    prompts.save(ONE.format(name=name, model="echo", tag="Shorten"), client=lab.client)
    return name


@pytest.fixture
def many(lab: Lab) -> str:
    prompts.save(MANY.format(name="many"), client=lab.client)
    return "many"


def asked(lab: Lab) -> str:
    """What the upstream was sent last as the user's message."""
    return str(lab.upstream.requests[-1].body["messages"][-1]["content"])


def test_the_text_of_the_cell_is_the_one_required_variable(lab: Lab, saved: str) -> None:
    ran = lab.run(f"%%ai --prompt {saved} --fresh -o answer\nDear team,\nit rained: all day.")
    assert ran.error is None and asked(lab) == "Shorten plain: Dear team,\nit rained: all day."
    body = lab.upstream.requests[-1].body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."} and body["temperature"] == 0.5
    call = ran.call
    assert (call["prompt_name"], call["prompt_version"], call["model"]) == (saved, "1.0.0", "echo")
    row = lab.row(call["call_id"])
    assert (row["prompt_name"], row["prompt_version"], row["surface"]) == (saved, "1.0.0", "magic")
    output = ran.outputs[0]
    about = output["metadata"]["aiplat"]
    assert (about["prompt_name"], about["prompt_version"], about["call_id"]) == (saved, "1.0.0", call["call_id"])
    for kind in ("text/plain", "text/html", "text/markdown"):
        assert f"echo · {saved}@1.0.0 · " in output["data"][kind]
    assert lab.shell.user_ns["answer"].request.attribution.prompt_version == "1.0.0"
    assert "prompt_name" not in lab.run("%%ai --fresh\nhi").outputs[0]["metadata"]["aiplat"]


def test_names_and_values_in_yaml_and_json(lab: Lab, saved: str, many: str) -> None:
    assert lab.run(f"%%ai --prompt {saved} --fresh\ntext: hello\ntone: formal").error is None
    assert asked(lab) == "Shorten formal: hello"
    assert lab.run(f'%%ai --prompt {saved} --fresh\n{{"text": "hello", "tone": "formal"}}').error is None
    assert asked(lab) == "Shorten formal: hello"
    cell = f"%%ai --prompt {many} --fresh\nquestion: Who?\ntext: |-\n  a: b\n  - c\nrows: [1, 2]\nfacts: {{{{a: 1}}}}\nyear: 1999"
    cell = cell.replace("{{a: 1}}", "{a: 1}")
    assert lab.run(cell).error is None
    assert asked(lab) == 'Who?|a: b\n- c|1+2|{"a": 1}|1999'
    assert lab.run(f"%%ai --prompt {many} --fresh\nquestion: true\ntext: 007").error is None
    assert asked(lab).startswith("true|007|")


def test_variables_of_the_notebook_are_put_in_after_the_cell_was_read(lab: Lab, many: str) -> None:
    lab.shell.push({"doc": 'x: y\ntext: z\n"q" {question} {{ year }}', "found": [3, 4], "table": {"k": "v"}, "who": "Ann"})
    ran = lab.run(f"%%ai --prompt {many} --fresh\nquestion: Is {{who}} here?\ntext: {{doc}}\nrows: {{found}}\nfacts: {{table}}")
    assert ran.error is None
    assert asked(lab) == 'Is Ann here?|x: y\ntext: z\n"q" {question} {{ year }}|3+4|{"k": "v"}|2026'
    assert lab.run(f"%%ai --prompt {many} --fresh\nquestion: x\ntext: {{who}}").error is None
    ran = lab.run(f"%%ai --prompt {many} --fresh\nquestion: x\ntext: {{wohx}}, {{whoo}}")
    assert ran.error is None and "|{wohx}, {whoo}|" in asked(lab)
    assert "{whoo} is not a variable of this notebook. Did you mean who?" in ran.complaints


def test_the_whole_text_can_be_one_variable(lab: Lab, saved: str) -> None:
    lab.shell.push({"mail": "tone: formal\n# user\n{{ x }}"})
    assert lab.run(f"%%ai --prompt {saved} --fresh\n{{mail}}").error is None
    assert asked(lab) == "Shorten plain: tone: formal\n# user\n{{ x }}"
    assert lab.run(f"%%ai --prompt {saved} --fresh\nFrom Ann: {{mail}}").error is None
    assert asked(lab) == "Shorten plain: From Ann: tone: formal\n# user\n{{ x }}"


def test_what_the_cell_does_not_name_comes_from_the_notebook(lab: Lab, many: str, saved: str) -> None:
    lab.shell.push({"text": "of the notebook", "year": 1066, "rows": None})
    del lab.shell.user_ns["rows"]
    assert lab.run(f"%%ai --prompt {many} --fresh\nquestion: When?").error is None
    assert asked(lab) == "When?|of the notebook|||1066"
    lab.shell.push({"tone": "formal"})
    assert lab.run(f"%ai --prompt {saved} --fresh").error is None  # a line alone: everything comes from the notebook
    assert asked(lab) == "Shorten formal: of the notebook"
    lab.shell.push({"tone": len})  # a function is no value
    assert lab.run(f"%ai --prompt={saved} --fresh").error is None and asked(lab).startswith("Shorten plain")
    lab.shell.push({"tone": "rude"})
    ran = lab.run(f"%ai --prompt {saved} --fresh")
    assert isinstance(ran.error, PromptError) and "tone is 'rude'; it takes one of plain, formal" in ran.printed


def test_a_data_frame_is_written_as_a_text(lab: Lab, saved: str) -> None:
    import polars

    lab.shell.push({"text": polars.DataFrame({"a": [1, 2], "b": ["x", "y"]})})
    assert lab.run(f"%ai --prompt {saved} --fresh").error is None
    assert "| 1 | x |" in asked(lab) or "1" in asked(lab).split("plain: ")[1]
    del lab.shell.user_ns["text"]


def test_the_line_wins_over_the_prompt(lab: Lab, saved: str) -> None:
    ran = lab.run(f"%%ai up/instant --prompt {saved} --temperature 1 --max-tokens 5 --fresh --tag a=b --team risk\nx")
    assert ran.error is None and ran.call["model"] == "up/instant"
    body = lab.upstream.requests[-1].body
    assert body["temperature"] == 1.0 and 5 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    row = lab.row(ran.call["call_id"])
    assert (row["team"], dict(row["tags"])) == ("risk", {"a": "b"})


def test_a_label_that_moves_is_seen_by_the_next_cell(lab: Lab, saved: str) -> None:
    prompts.label(saved, "production", "1.0.0", client=lab.client)
    prompts.save(ONE.format(name=saved, model="echo", tag="Cut"), client=lab.client)
    assert lab.run(f"%%ai --prompt {saved}@production --fresh\nx").call["prompt_version"] == "1.0.0"
    prompts.label(saved, "production", "latest", client=lab.client)
    ran = lab.run(f"%%ai --prompt {saved}@production --fresh\nx")
    assert ran.call["prompt_version"] == "1.0.1" and asked(lab) == "Cut plain: x"
    assert lab.run(f"%%ai --prompt {saved}@1.0.0 --fresh\nx").call["prompt_version"] == "1.0.0"


def test_the_same_cell_again_costs_nothing(lab: Lab, saved: str) -> None:
    first = lab.run(f"%%ai --prompt {saved}\nonce")
    again = lab.run(f"%%ai --prompt {saved}\nonce")
    assert (first.call["cache"], again.call["cache"]) == ("miss", "hit") and again.call["prompt_version"] == "1.0.0"


@pytest.mark.parametrize(
    ("line", "body", "error", "told"),
    [
        ("--prompt SAVEDX", "x", PromptError, "there is no prompt"),
        ("--prompt SAVED@prodution", "x", PromptError, "has no version or label 'prodution'"),
        ("--prompt SAVED@", "x", PromptError, "names no prompt"),
        ("--prompt", "x", UsageError, "--prompt needs a value: --prompt NAME[@X]"),
        ("--prompt SAVED --prompt SAVED", "x", UsageError, "given twice"),
        ('--prompt SAVED --system "x"', "x", UsageError, "--system has no place beside --prompt"),
        ("--prompt SAVED", "text: a\ntoen: formal", PromptError, "there is no variable 'toen'. Did you mean tone"),
        ("--prompt SAVED", "text: a\ntone: loud", PromptError, "tone is 'loud'"),
        ("--prompt SAVED", "text: [a", PromptError, "the cell:1:9: this is not YAML"),
        ("--prompt SAVED", "tone: formal", PromptError, "it needs text (a text: the text)"),
        ("--prompt many", "just a text", PromptError, "takes more than one variable: write each on a line of the cell as `text: …`"),
        ("--prompt many", "question: a", PromptError, "it needs text (a text)"),
        ("--prompt many", "question: a\ntext: b\nyear: soon", PromptError, "year must be a whole number, not the text 'soon'"),
        ("--prompt many", "- a", PromptError, "takes more than one variable"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_sent(
    lab: Lab, saved: str, many: str, line: str, body: str, error: type[Exception], told: str
) -> None:
    before = len(lab.upstream.requests)
    ran = lab.run(f"%%ai {line.replace('SAVED', saved)}\n{body}")
    assert isinstance(ran.error, error), ran.error
    assert told in ran.printed and len(ran.printed.strip().splitlines()) == 1 and ran.outputs == []
    assert len(lab.upstream.requests) == before


def test_a_model_that_is_not_there_is_told_as_ever(lab: Lab) -> None:
    prompts.save(ONE.format(name="lost", model="ehco", tag="x"), client=lab.client)
    ran = lab.run("%%ai --prompt lost\nx")
    assert isinstance(ran.error, UnknownModel) and "Did you mean echo" in ran.printed
    assert lab.run("%%ai echo --prompt lost --fresh\nx").error is None


def test_the_list_of_prompts(lab: Lab, saved: str) -> None:
    prompts.label(saved, "staging", "1.0.0", client=lab.client)
    said = lab.run("%ai prompts").outputs[0]["data"]["text/plain"]
    assert saved in said and "staging → 1.0.0" in said
    help_text = lab.run("%ai help").outputs[0]["data"]["text/plain"]
    assert "--prompt NAME[@X]" in help_text


def test_a_prompt_of_the_library(lab: Lab) -> None:
    names = [name for name in prompts.library_names() if len([v for v in prompts.library(name).variables.values() if v.required]) == 1]
    if not names:
        pytest.skip("the library has no prompt of one variable")
    variable = next(v for v in prompts.library(names[0]).variables.values() if v.required)
    ran = lab.run(f"%%ai up/echo --prompt library:{names[0]} --fresh\n{variable.name}: It rained.")
    assert ran.error is None and ran.call["prompt_name"] == names[0] and ran.call["prompt_version"].startswith("sha256:")
    assert MIME in ran.outputs[0]["data"] and "It rained." in str(lab.upstream.requests[-1].body)
