"""`aiplat prompts …` as a person uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from clikit import Line
from served import Served

from aiplat_lab import prompts

TEXT = """---
name: {name}
variables:
  text: {{type: string}}
---
# user
Summarise {how}: {{{{ text }}}}
"""


@pytest.fixture
def file(tmp_path: Path):
    def write(name: str, how: str = "briefly") -> str:
        path = tmp_path / f"{name}.prompt.md"
        path.write_text(TEXT.format(name=name, how=how))
        return str(path)

    return write


def test_from_a_file_to_production_and_back(used: Line, file) -> None:
    said = used("prompts", "save", file("one"), "-m", "begin")
    assert (said.code, said.out.strip()) == (0, "one@1.0.0 (first): it is saved for the first time")
    said = used("prompts", "save", file("one", "in one line"), "-m", "shorter")
    assert said.out.strip() == "one@1.0.1 (patch): the text of the user message changed"
    said = used("prompts", "save", file("one", "in one line"))
    assert said.code == 0 and said.out.startswith("one@1.0.1 (nothing new): the content is that of 1.0.1 already")
    row = used("prompts", "save", file("one"), "--json").rows[0]
    assert (row["version"], row["change"], row["new"]) == ("1.0.0", "none", False)
    assert used("prompts", "label", "one", "production", "1.0.0", "-m", "safe").out.strip() == "one: production → 1.0.0 (new)"
    assert used("prompts", "label", "one@latest", "production").out.strip() == "one: production → 1.0.1 (before: 1.0.0)"
    assert "nothing was moved" in used("prompts", "label", "one", "production", "1.0.1").out
    row = used("prompts", "label", "one", "production", "1.0.0", "-m", "back", "--json").rows[0]
    assert row == {"prompt": "one", "label": "production", "version": "1.0.0", "from": "1.0.1", "moved": True}
    said = used("prompts", "show", "one@production")
    assert said.out == TEXT.format(name="one", how="briefly") and said.err.startswith("one@1.0.0 · ")
    row = used("prompts", "show", "one", "--json").rows[0]
    assert (row["version"], row["messages"], row["variables"]["text"]["type"]) == (
        "1.0.0",
        [["user", "Summarise briefly: {{ text }}"]],
        "string",
    )
    rows = used("prompts", "history", "one", "--json").rows
    assert [row["why"] for row in rows] == [
        "back",
        "",
        "safe",
        "shorter (the text of the user message changed)",
        "begin (it is saved for the first time)",
    ]
    assert "production moved" in used("prompts", "history", "one").out
    row = next(row for row in used("prompts", "list", "--json").rows if row["prompt"] == "one")
    assert (row["latest"], row["versions"], row["labels"]) == ("1.0.1", 2, "production → 1.0.0")


def test_a_difference_in_words_and_lines(used: Line, file, tmp_path: Path) -> None:
    used("prompts", "save", file("two"))
    other = tmp_path / "next.prompt.md"
    other.write_text(
        TEXT.format(name="two", how="briefly").replace("variables:\n", "model: big\nvariables:\n  tone: {type: string, default: plain}\n")
    )
    said = used("prompts", "diff", "two@1.0.0", str(other))
    assert said.code == 0 and said.out.startswith(f"two@1.0.0 → {other}: minor\n")
    for words in ("the optional variable tone was added", "the model is big, not the default", "--- two@1.0.0", "+model: big", "+  tone:"):
        assert words in said.out
    row = used("prompts", "diff", "two@1.0.0", str(other), "--json").rows[0]
    assert row["change"] == "minor" and {reason["level"] for reason in row["reasons"]} == {"minor"} and "+model: big" in row["diff"]
    assert used("prompts", "diff", "two", "two").out.strip().endswith("are the same")
    assert used("prompts", "diff", "two", "two", "--json").rows[0]["diff"] == ""


def test_a_file_to_begin_with(used: Line, tmp_path: Path) -> None:
    said = used("prompts", "init", "fresh", "--folder", str(tmp_path))
    made = tmp_path / "fresh.prompt.md"
    assert said.code == 0 and "aiplat prompts save" in said.err
    prompt = prompts.load(made)
    assert prompt.name == "fresh" and prompt.render({"text": "x"})[1].content == "What is this about?\n\nx"
    used("prompts", "init", "fresh", "--folder", str(tmp_path)).complains(2, "is there already", "aiplat prompts save")
    assert used("prompts", "save", str(made)).out.startswith("fresh@1.0.0 (first)")
    used("prompts", "init", "Bad Name", "--folder", str(tmp_path)).complains(1, "bad-name")
    used("prompts", "init", "library:nothing", "--folder", str(tmp_path)).complains(1, "the library has no prompt 'nothing'")


def test_the_library(used: Line, tmp_path: Path) -> None:
    names = [row["prompt"] for row in used("prompts", "library", "--json").rows]
    assert names == list(prompts.library_names())
    if names:
        name = names[0]
        assert used("prompts", "show", f"library:{name}").out == prompts.library(name).text
        assert used("prompts", "init", name, "--folder", str(tmp_path), "--json").rows[0]["from"] == f"library:{name}"
        assert prompts.load(tmp_path / f"{name}.prompt.md").content_hash == prompts.library(name).content_hash
        assert used("prompts", "save", f"library:{name}", "--json").rows[0]["version"] == "1.0.0"


def test_mistakes_are_one_line(used: Line, file, tmp_path: Path) -> None:
    used("prompts", "save", file("three"))
    wrong = tmp_path / "wrong.prompt.md"
    wrong.write_text("---\nname: wrong\n---\n{{ text")
    latin = tmp_path / "latin.prompt.md"
    latin.write_bytes(b"caf\xe9")
    used("prompts", "save", str(wrong)).complains(1, f"{wrong}:4:4", "end of print statement")
    used("prompts", "save", str(latin)).complains(1, f"{latin}:1:4", "not UTF-8")
    used("prompts", "save", str(tmp_path / "none.prompt.md")).complains(1, "No such file")
    used("prompts", "show", "thre").complains(1, "Did you mean three")
    used("prompts", "show", "three@prod").complains(1, "no version or label 'prod'")
    used("prompts", "diff", "three", "three@1.0.9").complains(1, "Did you mean 1.0.0")
    used("prompts", "label", "three", "production", "1.0.9").complains(1, "Did you mean 1.0.0")
    used("prompts", "label", "three", "1.0", "1.0.0").complains(1, "looks like a version")
    used("prompts", "label", "three", "production").complains(2, "write the version once")
    used("prompts", "label", "three@1.0.0", "production", "1.0.0").complains(2, "write the version once")
    used("prompts", "history", "thre").complains(1, "Did you mean three")
    used("prompts", "hstory").complains(2, "Did you mean history")


def test_with_a_key_of_a_shared_gateway(used: Line, busy: Served, file, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used("prompts", "save", file("four"))
    used("prompts", "label", "four", "production", "1.0.0")
    monkeypatch.setenv("AIPLAT_KEY", busy.key(team="risk"))
    monkeypatch.setenv("AIPLAT_GATEWAY", busy.http)
    monkeypatch.setenv("AIPLAT_HOME", str(tmp_path / "own"))
    row = next(row for row in used("prompts", "list", "--json").rows if row["prompt"] == "four")
    assert row == {"prompt": "four", "latest": "1.0.0", "versions": 1, "labels": "production → 1.0.0"}
    assert used("prompts", "show", "four@production").out == TEXT.format(name="four", how="briefly")
    used("prompts", "save", file("four", "otherwise")).complains(1, "key")
    used("prompts", "label", "four", "trial", "1.0.0").complains(1, "key")


def test_a_home_without_prompts(line: Line) -> None:
    (line.home / "aiplat.toml").write_text("")
    assert line("prompts", "list", "--json").rows == []
    assert "aiplat prompts init NAME" in line("prompts", "list").out
    line("prompts", "show", "nothing-here").complains(1, "there is no prompt 'nothing-here'")
