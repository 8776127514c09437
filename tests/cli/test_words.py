"""What is the same for every command: help, `--json`, exit codes, and one line for a mistake."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from clikit import Line, process

from aiplat_lab import cli
from aiplat_lab.core.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


def commands(parser: argparse.ArgumentParser, *before: str) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command with its words."""
    subs = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not subs:
        yield before, parser
    for action in subs:
        for name, sub in action.choices.items():
            yield from commands(sub, *before, name)


ALL = dict(commands(cli.parser()))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_help_and_json(line: Line, words: tuple[str, ...]):
    said = line(*words, "--help")
    assert said.code == 0 and said.err == ""
    assert " ".join(("usage: aiplat", *words)) in said.out and "--json" in said.out and "--home" in said.out
    assert ALL[words].description


def test_the_commands_there_are(line: Line):
    said = line("--help")
    assert said.code == 0 and {words[0] for words in ALL} <= set(said.out.split())
    assert line("--version").out == f"aiplat-lab {VERSION}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "COMMAND"),
        ("stauts", "Did you mean status"),
        ("modle list", "Did you mean model"),
        ("keys creat", "Did you mean create"),
        ("audit verfy", "Did you mean verify"),
        ("keys", "ACTION"),
        ("keys revoke", "key_id"),
        ("keys create --expires soon", "30m, 24h, 7d"),
        ("sql", "query"),
        ("export", "path"),
        ("export x --format csv", "focus"),
        ("export x.duckdb --format snapshot --since 7d", "--since"),
        ("calls --since yesterday", "7d, 24h, today"),
        ("calls --until 32-13-2026", "--until"),
        ("calls --limit -1", "whole number"),
        ("calls --limit many", "whole number"),
        ("calls --fromat csv", "--fromat"),
        ("calls not-an-id", "aiplat calls"),
        ("logs -n -5", "whole number"),
        ("demo --calls few", "whole number"),
        ("model pull smollm", "Did you mean smollm2"),
        ("report run", "name"),
        ("dashboard --port http", "whole number"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(line: Line, words: str, told: str):
    line(*words.split()).complains(2, told)


def test_json_of_what_is_empty_is_an_empty_array(line: Line):
    for words in (("calls",), ("keys", "list"), ("budget",), ("sql", "SELECT 1 AS a WHERE false")):
        assert line(*words, "--json").rows == []
        assert line(*words).out.strip() in {
            "no calls yet: run an %%ai cell, or `aiplat quickstart`",
            "no virtual key yet: `aiplat keys create --team NAME`",
            "no budget is set: add a [[budgets]] entry to aiplat.toml",
            "no rows",
        }


@pytest.mark.parametrize("words", [("--help",), ("status",), ("calls", "--help"), ("report", "list")])
def test_a_reader_who_leaves_is_no_failure(tmp_path: Path, words: tuple[str, ...]):
    """As with `aiplat calls | head`."""
    read, write = os.pipe()
    os.close(read)
    try:
        said = process(tmp_path / "home", *words, stdout=write)
    finally:
        os.close(write)
    assert (said.code, said.err) == (0, "") or (said.code == 0 and said.err.startswith("it starts with"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_said(tmp_path: Path):
    with Path("/dev/full").open("w") as full:
        process(tmp_path / "home", "status", "--json", stdout=full).complains(1, "No space left")


def test_settings_that_are_wrong_are_told_by_whatever_needs_them(line: Line):
    (line.home / "aiplat.toml").write_text("curency = 'GBP'\n")
    for words in (("start",), ("calls",), ("model", "list"), ("doctor",), ("quickstart", "--headless")):
        said = line(*words)
        assert said.code == 1 and "currency" in said.out + said.err and "Traceback" not in said.err, (words, said)
        if words[0] != "doctor":
            said.complains(1, "aiplat.toml", "'curency'", "Did you mean currency")
    assert not (line.home / "gateway.json").exists()


_MENTION = re.compile(r"`aiplat ([a-z][^`]*)`")


def test_whatever_the_texts_tell_people_to_run_is_a_command():
    """Error texts and pages name commands; each of them exists."""
    files = [*(ROOT / "aiplat_lab").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    names = {words[0] for words in ALL}
    wrong = []
    for path in files:
        for found in _MENTION.finditer(path.read_text(encoding="utf-8")):
            words = found[1].split()
            groups = {known[1] for known in ALL if len(known) > 1 and known[0] == words[0]}
            listed = path.parent.name == "cli" and "|" in found[1]
            if words[0] not in names or (groups and not listed and len(words) > 1 and words[1] not in groups):
                wrong.append(f"{path.relative_to(ROOT)}: {found[0]}")
            if groups and len(words) == 1 and path.suffix == ".py" and path.parent.name != "cli" and words[0] != "report":
                wrong.append(f"{path.relative_to(ROOT)}: {found[0]} needs one of {sorted(groups)}")
    assert wrong == []


def test_it_runs_as_a_command(tmp_path: Path):
    said = process(tmp_path / "home", "status", "--json")
    assert said.rows == [{"gateway": "stopped", "home": str(tmp_path / "home")}]
    assert not (tmp_path / "home").exists(), "looking makes nothing"
