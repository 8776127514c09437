"""The first line of a cell: our dialect, jupyter-ai's two, and every mistake as one line."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiplat_lab.core.errors import UsageError
from aiplat_lab.magic import AiMagics
from aiplat_lab.magic._options import Options, option_names, parse


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("", Options()),
        ("fast", Options(model="fast")),
        ("openai/gpt-5-mini", Options(model="openai/gpt-5-mini")),
        ("openai:gpt-5-mini -f code", Options(model="openai:gpt-5-mini", format="code")),
        ("@fast", Options(model="fast")),
        ("-m fast", Options(model="fast")),
        ("--model fast -fjson", Options(model="fast", format="json")),
        ("fast --format md", Options(model="fast", format="markdown")),
        ("fast -o answer --system 'Be brief, and \"kind\"'", Options(model="fast", out="answer", system='Be brief, and "kind"')),
        ("--system=\"two words\" fast", Options(model="fast", system="two words")),
        ("--temperature 0 --max-tokens 50 --seed 7", Options(settings={"temperature": 0, "max_tokens": 50, "seed": 7})),
        ('fast -m {"temperature": 0.1, "top_p": 0.9}', Options(model="fast", settings={"temperature": 0.1, "top_p": 0.9})),
        ("fast -m '{\"temperature\": 0.1}'", Options(model="fast", settings={"temperature": 0.1})),
        ('fast --model-parameters {"a":{"b": [1, "x y"]}} --quiet', Options(model="fast", settings={"a": {"b": [1, "x y"]}}, quiet=True)),
        ('fast -m {"timeout": 2}', Options(model="fast", timeout_s=2.0)),
        ("--timeout 2.5 --cache off", Options(timeout_s=2.5, cache="off")),
        ("--fresh --no-stream", Options(cache="refresh", stream=False)),
        ("--completion --stop '\\n' --stop END", Options(settings={"completion": True, "stop": ["\n", "END"]})),
        ("--tag a=1 --tag b=x=y --team risk --project p", Options(tags={"a": "1", "b": "x=y"}, team="risk", project="p")),
        ("it's", Options(model="it's")),
    ],
)  # fmt: skip
def test_lines(line: str, options: Options) -> None:
    assert parse(line) == options


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--fromat code", "Did you mean --format"),
        ("--xyzzy", "%ai help"),
        ("-z", "no option '-z'"),
        ("-f", "needs a value"),
        ("-f --quiet", "needs a value"),
        ("-f kode", "Did you mean code"),
        ("-f image", "one of markdown"),
        ("fast please", "one word too many"),
        ("fast -m slow", "one word too many"),
        ("-f code -f json", "given twice"),
        ("--format code -f json", "given twice"),
        ("--fresh --cache off", "contradicts"),
        ("--cache off --fresh", "contradicts"),
        ("--stream --no-stream", "contradicts"),
        ("--quiet=1", "takes no value"),
        ("--temperature hot", "a number"),
        ("--temperature -1", "a number"),
        ("--max-tokens 0", "1 or more"),
        ("--max-tokens 1.5", "whole number"),
        ("--timeout 0", "greater than 0"),
        ("-o 2x", "name of a variable"),
        ("--tag lonely", "a name and a value"),
        ("--system 'open", "not closed"),
        ('fast -m {"a": }', "not JSON"),
        ("fast -m '{broken}'", "not JSON"),
        ('-m {"api_key": "sk-1"}', "does not belong in a notebook"),
        ('-m {"stream": true}', "not a setting"),
        ("fast --api-key-name sk-0123456789", "never the key itself"),
        ("fast --api-base", "needs a value"),
    ],
)
def test_mistakes(line: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line)
    assert said in caught.value.message and len(caught.value.message.encode()) <= 800


@given(st.text(max_size=80))
def test_any_line_gives_options_or_our_own_error(line: str) -> None:
    try:
        assert isinstance(parse(line), Options)
    except UsageError as error:
        assert len(error.message.encode()) <= 800


def test_every_option_stands_in_the_help_of_the_magic() -> None:
    said = (inspect.getdoc(AiMagics.ai) or "").replace("/--no", " --no")
    assert [name for name in option_names() if name not in said and name != "--model-parameters"] == []
