"""Markdown to HTML: what people write looks right, and nothing of an answer runs or loads."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiplat_lab.magic._markup import to_html

ALLOWED = {
    "div", "p", "br", "hr", "h3", "h4", "h5", "h6", "ul", "ol", "li", "pre", "code", "strong", "em", "del", "blockquote", "a",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip


class _Read(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag


def assert_safe(html: str) -> None:
    reader = _Read()
    reader.feed(html)
    for tag, attributes in reader.tags:
        assert tag in ALLOWED
        assert set(attributes) <= {"class", "style", "href", "target", "rel"}
        assert str(attributes.get("href", "https://")).startswith(("http://", "https://"))
        assert "url(" not in str(attributes.get("style"))


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("one\ntwo\n\nthree", "<p>one<br>two</p>\n<p>three</p>"),
        ("# Title", "<h3>Title</h3>"),
        ("a **bold** and *slanted* and `x < y` word", "<p>a <strong>bold</strong> and <em>slanted</em> and "
         '<code class="tex2jax_ignore mathjax_ignore">x &lt; y</code> word</p>'),
        ("snake_case_name and 2 * 3 * 4", "<p>snake_case_name and 2 * 3 * 4</p>"),
        ("- one\n- two\n  - inner\n- three", "<ul><li>one</li><li>two<ul><li>inner</li></ul></li><li>three</li></ul>"),
        ("1. one\n2. two", "<ol><li>one</li><li>two</li></ol>"),
        ("> said\n> twice", "<blockquote>said<br>twice</blockquote>"),
        ("[site](https://a.example/a_b_c)", '<p><a href="https://a.example/a_b_c" target="_blank" rel="noopener noreferrer">site</a></p>'),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("![pic](https://evil.example/?q=secret)", "<p>[image: pic]</p>"),
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
        ("---", "<hr>"),
    ],
)  # fmt: skip
def test_markdown(text: str, html: str) -> None:
    assert to_html(text) == f'<div class="tex2jax_ignore mathjax_ignore">{html}</div>'


def test_tables_and_code() -> None:
    html = to_html("| a | b |\n|---|:-:|\n| 1 | *2* |\n\n```python\nif a < b:\n    go()\n```\nend")
    assert html.count("<td") == 2 and "<em>2</em>" in html and "if a &lt; b:\n    go()" in html and "<p>end</p>" in html


def test_formulas_are_left_to_the_page_and_prices_are_not() -> None:
    assert "mathjax_ignore" not in to_html("so $$a_1 * b_2$$ holds") and "$$a_1 * b_2$$" in to_html("so $$a_1 * b_2$$ holds")
    assert "mathjax_ignore" in to_html("it costs $5 and then $6")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="<>&\"'`*_[]()!#-|~$\\ \n\tahref:/js.1", max_size=200))
def test_nothing_of_an_answer_becomes_another_tag(text: str) -> None:
    assert_safe(to_html(text))


@pytest.mark.parametrize("sign", ["`", "*", "_", "#", " ", "[", "|", "-", "> ", "$_", "~", "- ", "![", "**a", "# ", "\n", "`` ` "])
def test_long_hostile_answers_take_no_time(sign: str) -> None:
    begun = time.process_time()
    assert_safe(to_html(sign * (190_000 // len(sign))))
    assert time.process_time() - begun < 3.0


def test_a_megabyte_is_shown_as_it_is() -> None:
    assert to_html("<b>" * 400_000).startswith("<pre")
