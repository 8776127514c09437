"""Variables in a prompt: one pass, nothing read twice, braces that are no references left alone."""

from __future__ import annotations

import os
import types
from datetime import date
from typing import Any

import pandas
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiplat_lab.core.errors import PromptError
from aiplat_lab.magic._interpolate import interpolate


class Thing:
    label = "blue"
    sizes = (4, 5)

    @property
    def broken(self) -> str:
        raise ZeroDivisionError("a division\nby nothing")

    @property
    def nasty(self) -> str:
        raise BadError

    def __str__(self) -> str:
        raise RuntimeError("cannot be shown")


class BadError(Exception):
    def __str__(self) -> str:
        raise ValueError("not even this")


NAMES: dict[str, Any] = {
    "name": "Ann",
    "n": 5,
    "price": 3.14159,
    "thing": Thing(),
    "row": {"id": 7, "name": "{n}", "key with space": 1},
    "rows": [1, 2, [3, 4]],
    "sly": "{name} {{n}} {thing.sizes[0]}",
    "day": date(2026, 11, 2),
    "key": "id",
    "env": os.environ,
    "holder": types.SimpleNamespace(environ=os.environ, _hidden=1),
    "helper": len,
    "module": types,
    "text": "abcdefghij",
    "größe": 9,
    "nothing": None,
}


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("Hi {name}, {n} times", "Hi Ann, 5 times"),
        ("{thing.label} {thing.sizes[1]}", "blue 5"),
        ("{row[id]} {row['key with space']} {row[\"id\"]}", "7 1 7"),
        ("{rows[0]} {rows[-1][1]} {rows[0:2]}", "1 4 [1, 2]"),
        ("{row[key]}", "7"),
        ("{price:.2f} {n:03d} {n:>4} {price:,.1f}", "3.14 005    5 3.1"),
        ("{day:%d %B %Y}", "02 November 2026"),
        ("{name!r} {text[:3]} {text[-2:]}", "'Ann' abc ij"),
        ("{größe} {nothing}", "9 None"),
        ("{name}{n}", "Ann5"),
        ("file_{n}.csv and report_{name}", "file_5.csv and report_Ann"),
        ("that costs ${n}", "that costs $5"),
        ("C:\\Users\\{name}", "C:\\Users\\Ann"),
        ("line\\n{name}", "line\\nAnn"),
        ("```python\nx = {n}\n```", "```python\nx = 5\n```"),
    ],
)
def test_references(typed: str, sent: str) -> None:
    assert interpolate(typed, NAMES, strict=True) == (sent, ())


@pytest.mark.parametrize(
    "typed",
    [
        "{}", "{ }", "{ name }", "{1}", "{a, b}", "{n + 1}", "{f(x)}", "{name", "name}", "}{", "{{", "}}", "{{}", "{lambda}", "{return}",
        '{"a": 1}', '{"name": {"n": [1, 2, {"x": {}}]}}', '{"name":"n"}', "{'a': 'b'}", "{n: 1}", "{color: red}", "a{color:red}",
        "body { margin: 0 }", "for (;;) { i++; }", "[x for x in {1, 2}]", "{k: v for k, v in d}", "\\d{2,3}", "a{3}", "{!r}", "{name!x}",
        r"\frac{name}{n}", r"\frac{\sqrt{name}}{n}", r"$x^{n}$", r"$x_{n}$", r"\sum_{n}^{name}", r"\sqrt[3]{n}", r"\begin{name}\end{name}",
        r"\textbf{see {name}}", r"\mathbb{n}_{n}", "style={{color: 'red'}}", "<Box style={{color: \"red\"}} />", "${{ secrets.KEY }}",
        "{{ name }}", "{% if name %}", "{name.}", "{name[}", "{name[]}", "{name[n+1]}", "{.name}", "${HOME}", "#{count}", "/users/{id}/x",
        "`{total}`", "```\nprint(f'{total}')\n```", "{-name}", "{name-1}", "{a|b}", "{\nname\n}",
    ],
)  # fmt: skip
def test_other_braces_stay_as_they_are_typed(typed: str) -> None:
    assert interpolate(typed, NAMES, strict=True) == (typed, ())


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("{{name}} is {name}", "{name} is Ann"),
        ("{{nowhere}}", "{nowhere}"),
        ("{{{name}}}", "{Ann}"),
        ('{{"a": {{"b": 1}}, "who": "{name}"}}', '{"a": {"b": 1}, "who": "Ann"}'),
        ('{"who": {name}}', '{"who": Ann}'),
        ("{{}}", "{}"),
        ("{{name}, {n}}", "{Ann, 5}"),
    ],
)
def test_doubled_braces(typed: str, sent: str) -> None:
    assert interpolate(typed, NAMES, strict=True).text == sent


def test_a_value_is_never_read_again() -> None:
    assert interpolate("{sly} {row[name]}", NAMES, strict=True).text == "{name} {{n}} {thing.sizes[0]} {n}"


@settings(max_examples=300, deadline=None)
@given(st.text(), st.text(), st.sampled_from(["{v}", "{v} {w}", "a {v}b", "{row[v]} {v}", '{"x": "{v}"}', "{{v}} {v}", "`{v}`"]))
def test_no_second_expansion_whatever_a_value_holds(value: str, other: str, form: str) -> None:
    names = {"v": value, "w": other, "row": {"v": value}, "secret": "LEAKED"}
    hostile = {**names, "v": f"{value}{{secret}}{{{{secret}}}}{{row[v]}}"}
    for one in (names, hostile):
        expected = form.replace("{{v}}", "\0").replace("{row[v]}", "\1").replace("{v}", "\2").replace("{w}", "\3")
        parts = {"\0": "{v}", "\1": one["row"]["v"], "\2": one["v"], "\3": one["w"]}
        assert interpolate(form, one).text == "".join(parts.get(sign, sign) for sign in expected)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="{}[].\"'\\$_^:!%`~ \nnameab01", max_size=60))
def test_no_text_makes_it_fail_but_with_our_own_error(typed: str) -> None:
    try:
        interpolate(typed, NAMES, strict=False)
    except PromptError as error:
        assert len(error.message.encode()) <= 800


def test_an_unknown_name_is_a_warning_and_strictly_an_error() -> None:
    sent = interpolate("Dear {nmae}", NAMES)
    assert sent.text == "Dear {nmae}"
    assert sent.warnings == ("{nmae} is not a variable of this notebook. Did you mean name? It was sent as it stands.",)
    with pytest.raises(PromptError, match=r"\{nmae\} is not a variable .* Did you mean name\? Nothing was sent\."):
        interpolate("Dear {nmae}", NAMES, strict=True)
    assert interpolate("Dear {nmae}", NAMES, strict=True, lenient=True) == ("Dear {nmae}", ())


@pytest.mark.parametrize("typed", ["{x}", "{customer}", "{customer.name}", "{orders[0]}", "{total:.2f}", "{frame:head 3}", "Dear {x}!"])
def test_plausible_names(typed: str) -> None:
    with pytest.raises(PromptError, match="not a variable"):
        interpolate(typed, NAMES, strict=True)


def test_a_near_name_is_suspicious_even_in_code() -> None:
    assert interpolate("`{naem}`", NAMES).warnings
    assert not interpolate("`{unrelated_thing}`", NAMES).warnings


@pytest.mark.parametrize("typed", ["{helper}", "{module}"])
def test_functions_and_modules_are_not_values(typed: str) -> None:
    assert interpolate(typed, NAMES).text == typed
    with pytest.raises(PromptError, match="not a value"):
        interpolate(typed, NAMES, strict=True)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("{name.__class__}", "private"),
        ("{thing.__dict__}", "private"),
        ("{holder._hidden}", "private"),
        ("{env}", "environment"),
        ("{env[PATH]}", "environment"),
        ("{holder.environ}", "environment"),
        ("{holder.environ[HOME]}", "environment"),
        ("{thing.broken}", "ZeroDivisionError: a division by nothing"),
        ("{thing.nasty}", "BadError"),
        ("{thing}", "cannot be shown"),
        ("{thing.colour}", "AttributeError"),
        ("{rows[9]}", "IndexError"),
        ("{row[missing]}", "KeyError"),
        ("{name:d}", "ValueError"),
        ("{n[0]}", "TypeError"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_cannot_be_read_is_one_line(typed: str, said: str, strict: bool) -> None:
    with pytest.raises(PromptError) as caught:
        interpolate(f"Look: {typed}", NAMES, strict=strict)
    assert said in caught.value.message
    assert "\n" not in caught.value.message and len(caught.value.message.encode()) <= 800


@pytest.mark.parametrize("library", [polars, pandas])
def test_frames(library: Any) -> None:
    df = library.DataFrame({"city": ["Leeds", "Y|ork", None], "n": [1, 2, 3]})
    names = {"df": df, "big": library.DataFrame({"n": list(range(500))}), "s": df["n"]}
    table = interpolate("{df}", names).text
    assert table.splitlines()[:3] == ["| city | n |", "| --- | --- |", "| Leeds | 1 |"]
    assert "Y\\|ork" in table and len(table.splitlines()) == 5
    assert len(interpolate("{df:head 2}", names).text.splitlines()) == 4
    assert interpolate("{df:tail 1}", names).text.splitlines()[-1].endswith("| 3 |")
    assert interpolate("{df:schema}", names).text.startswith("3 rows, 2 columns:\n- city: ")
    assert len(interpolate("{big:md}", names).text.splitlines()) == 502
    assert "| 2 |" in interpolate("{s}", names).text
    with pytest.raises(PromptError, match=r"500 rows.*\{big:head 20\}"):
        interpolate("{big}", names)
