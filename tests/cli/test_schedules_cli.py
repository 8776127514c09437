"""`aiplat schedule`: set, changed, listed, run, paused, removed and exported, and what is said of a mistake."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from clikit import Line
from hypothesis import given
from hypothesis import strategies as st
from served import stop, wait_for

from aiplat_lab.client import connect
from aiplat_lab.core.cron import parse_cron
from aiplat_lab.core.settings import Home
from aiplat_lab.observe import crontab, systemd
from aiplat_lab.observe._export import calendar, command

KEY = "sk-live-0123456789abcdefgh"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose gateway stays for all of these tests."""
    home = Home(tmp_path_factory.mktemp("schedules") / "home").create()
    home.settings_file.write_text('time_zone = "Europe/London"\n')
    yield home
    stop(home)


@pytest.fixture
def aiplat(place: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Line:
    for name in ("AIPLAT_GATEWAY", "AIPLAT_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIPLAT_HOME", str(place.path))
    return Line(capsys, place.path)


def book(path: Path, *cells: str, tag: str = "parameters") -> Path:
    made = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    made.cells = [nbformat.v4.new_code_cell('since = until = snapshot = out = ""\nmargin = 0.1', metadata={"tags": [tag]})]
    made.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(made, path)
    return path


def test_from_new_to_removed(aiplat: Line, tmp_path: Path):
    said = aiplat("schedule", "add", "cost", "--cron", "0 7 * * MON", "--name", "weekly", "--json")
    assert said.code == 0 and "is new" in said.err
    (row,) = said.rows
    assert row["time_zone"] == "Europe/London" and row["parameters"] == {"since": "7d"} and row["enabled"] and row["last_status"] is None
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT0[67]:00:00Z", row["next_due"])

    said = aiplat(
        "schedule", "add", "cost", "--cron", "0 8 * * 1", "--tz", "UTC", "--name", "weekly", "--timeout-s", "90", "--since", "30d"
    )
    assert said.code == 0 and "was there and is changed: cron was '0 7 * * MON', time_zone was 'Europe/London'" in said.err
    assert "08:00 UTC" in said.out

    assert "paused" in aiplat("schedule", "pause", "weekly").out
    assert aiplat("schedule", "list", "--json").rows[0]["next_due"] is None
    assert aiplat("status", "--json").rows[0]["schedules"]["enabled"] == 0
    assert "08:00 UTC" in aiplat("schedule", "resume", "weekly").out
    assert wait_for(lambda: "weekly" in aiplat("status").out), "the gateway was told"
    assert aiplat("schedule", "history", "weekly").out.strip() == "it has not run yet"
    assert aiplat("schedule", "remove", "weekly", "--json").rows == [{"schedule": "weekly", "state": "removed"}]
    assert "no schedule is set" in aiplat("schedule", "list").out and aiplat("schedule", "list", "--json").rows == []
    aiplat("schedule", "history", "weekly").complains(2, "no schedule 'weekly'")


@pytest.mark.slow
def test_run_and_history(aiplat: Line, tmp_path: Path):
    notebook = book(tmp_path / "mine.ipynb", "raise ValueError(f'margin is {margin}')")
    aiplat("schedule", "add", str(notebook), "--cron", "@daily", "-p", "margin=0.25")
    said = aiplat("schedule", "run", "mine")
    said.complains(1, "ended as failed", "margin is 0.25", "its log:")
    (row,) = aiplat("schedule", "history", "mine", "--json").rows
    assert row["status"] == "failed" and row["manual"] is True and row["exit_code"] == 1
    assert "a person" in aiplat("schedule", "history", "mine").out
    assert "incident: the schedule mine failed" in aiplat("status").err
    aiplat("schedule", "remove", "mine")
    assert len(aiplat("schedule", "history", "mine", "--json").rows) == 1, "its history stays"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "cost", "--cron", "0 25 * * 1"], ["hour '25'", "0-23"]),
        (["add", "cost", "--cron", "0 7 * *"], ["4 fields"]),
        (["add", "cosst", "--cron", "@daily"], ["no report 'cosst'", "cost"]),
        (["add", "cost", "--cron", "@daily", "--tz", "Europe/Londn"], ["Europe/Londn", "Did you mean Europe/London"]),
        (["add", "cost", "--cron", "@daily", "--timeout-s", "-5"], ["'-5'", "above 0"]),
        (["add", "cost", "--cron", "@daily", "--timeout-s", "nan"], ["above 0"]),
        (["add", "cost", "--cron", "@daily", "--since", "whenever"], ["'whenever' is not a time"]),
        (["add", "cost", "--cron", "@daily", "--since", "2999-01-01"], ["not before"]),
        (["add", "cost", "--cron", "@daily", "--catch-up", "all"], ["'all'", "latest, none"]),
        (["add", "cost", "--cron", "@daily", "--name", "a b/c"], ["cannot name a schedule"]),
        (["add", "cost", "--cron", "@daily", "-p", "margin=1"], ["no parameter 'margin'"]),
        (["add", "cost", "--cron", "@daily", "-p", "margin"], ["KEY=VALUE"]),
        (["add", "/nowhere/x.ipynb", "--cron", "@daily"], ["there is no notebook"]),
        (["run", "wekly"], ["no schedule 'wekly'", "Did you mean kept"]),
        (["pause", "kepd"], ["Did you mean kept"]),
        (["resume", "kepd"], ["Did you mean kept"]),
        (["remove", "kepd"], ["Did you mean kept"]),
        (["history", "kepd"], ["Did you mean kept"]),
        (["export", "kepd"], ["Did you mean kept"]),
        (["export", "kept", "--out", "x"], ["--format systemd"]),
        (["hisstory", "kept"], ["Did you mean history"]),
    ],
)
def test_a_mistake_is_one_clear_line(aiplat: Line, words: list[str], said: list[str]):
    aiplat("schedule", "add", "cost", "--cron", "@yearly", "--name", "kept")
    if words == ["run", "wekly"]:
        said = said[:1]
    aiplat("schedule", *words).complains(2, *said)
    assert [row["id"] for row in aiplat("schedule", "list", "--json").rows] == ["kept"]


def test_parameters_that_are_refused(aiplat: Line, tmp_path: Path):
    mine = str(book(tmp_path / "mine.ipynb"))
    for word in ("api_key=hello", f"margin={KEY}"):
        said = aiplat("schedule", "add", mine, "--cron", "@daily", "-p", word)
        said.complains(2, "no parameter" if word.startswith("api") else "is refused")
        assert KEY not in said.out + said.err
    aiplat("schedule", "add", mine, "--cron", "@daily", "-p", "margn=1").complains(2, "no parameter 'margn'", "Did you mean margin")
    plain = str(book(tmp_path / "plain.ipynb", tag="x"))
    aiplat("schedule", "add", plain, "--cron", "@daily").complains(2, "tag a cell `parameters`")
    assert KEY not in aiplat("sql", "SELECT data FROM records", "--json").out


# --- export -----------------------------------------------------------------------------------------------------------


def row(**more: Any) -> dict[str, Any]:
    known = {
        "id": "x",
        "report": "cost",
        "cron": "0 7 * * 1",
        "time_zone": "Europe/London",
        "parameters": {"since": "7d"},
        "timeout_s": None,
    }
    return {**known, "catch_up": "latest", **more}


def test_export_is_what_it_should_be(aiplat: Line, place: Home, tmp_path: Path):
    aiplat("schedule", "add", "cost", "--cron", "30 6 1,15 * mon-fri", "--name", "both")
    text = aiplat("schedule", "export", "both").out
    assert "\nCRON_TZ=Europe/London\n30 6 1,15 * 1-5 " in text and text.endswith(f"report run cost --since 7d --home {place.path}\n")
    assert aiplat("schedule", "export", "both", "--json").rows[0]["text"] == text
    said = aiplat("schedule", "export", "both", "--format", "systemd", "--out", str(tmp_path / "units"), "--json").rows
    assert [one["file"] for one in said] == ["aiplat-both.timer", "aiplat-both.service"]
    timer = (tmp_path / "units" / "aiplat-both.timer").read_text()
    assert "OnCalendar=*-*-01,15 06:30:00 Europe/London\nOnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 06:30:00 Europe/London\n" in timer
    assert "Persistent=true" in timer and "WantedBy=timers.target" in timer
    assert f'"report" "run" "cost" "--since" "7d" "--home" "{place.path}"' in (tmp_path / "units" / "aiplat-both.service").read_text()
    aiplat("schedule", "remove", "both")


@pytest.mark.parametrize(
    ("line", "times"),
    [
        ("0 7 * * 1", ["Mon *-*-* 07:00:00 UTC"]),
        ("*/30 * * * *", ["*-*-* *:00,30:00 UTC"]),
        ("* * * * *", ["*-*-* *:*:00 UTC"]),
        ("5 4 1 1,7 *", ["*-01,07-01 04:05:00 UTC"]),
        ("5 4 1-7 * */7", ["Sun *-*-01,02,03,04,05,06,07 04:05:00 UTC"]),
        ("5 4 1 2 sun", ["*-02-01 04:05:00 UTC", "Sun *-02-* 04:05:00 UTC"]),
    ],
)
def test_times_as_systemd_writes_them(line: str, times: list[str]):
    assert calendar(parse_cron(line), "UTC") == times
    if shutil.which("systemd-analyze"):
        subprocess.run(["systemd-analyze", "calendar", *times], check=True, capture_output=True)


def as_cron(text: str) -> list[str]:
    """The words of the command in a crontab's last line, as cron and then its shell read them."""
    read, line = "", text.splitlines()[-1].split(" ", 5)[5]
    position = 0
    while position < len(line):
        if line.startswith(r"\%", position):
            read, position = read + "%", position + 2
            continue
        assert line[position] != "%", "cron would end the command here"
        read, position = read + line[position], position + 1
    return shlex.split(read)


def as_systemd(text: str) -> list[str]:
    """The words of `ExecStart`, as systemd reads them."""
    words = []
    for quoted in re.findall(r'"((?:[^"\\]|\\.)*)"', text.partition("ExecStart=")[2].rstrip("\n")):
        plain = re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), quoted).replace("%%", "%")
        words.append(plain if not words else plain.replace("$$", "$"))
    return words


odd = st.text(st.sampled_from("ab %$\"'`;&|<>()#!~*?é\t"), max_size=12)


@given(odd, odd)
def test_words_survive_cron_systemd_and_their_shells(value: str, folder: str):
    home, about = Home(Path("/home/me") / f"h{folder}"), row(parameters={"since": "7d", "team": value, "n": 3}, timeout_s=90)
    words = command(about, home)
    assert as_systemd(systemd(about, home)["aiplat-x.service"]) == words
    try:
        assert as_cron(crontab(about, home)) == words
    except Exception as error:
        assert "\\" in "".join(words) and "systemd" in str(error)


def test_what_a_crontab_cannot_hold(place: Home):
    for value in ("a\\b", "two\nlines", "x" * 1000):
        with pytest.raises(Exception, match="use --format systemd"):
            crontab(row(parameters={"team": value}), place)
        assert as_systemd(systemd(row(parameters={"team": value}), place)["aiplat-x.service"])[-3] in (
            f"team={value}",
            f"team={json.dumps(value)}",
        )


def test_names_become_numbers(place: Home):
    assert "\n0 7 1 1,3-4 6-7 " in crontab(row(cron="0 7 1 jan,mar-apr sat-sun"), place)
    assert "\n0 0 * * 0 " in crontab(row(cron="@weekly"), place)


def test_the_gateway_stays_for_a_schedule(home: Home):
    home.settings_file.write_text("[gateway]\nidle_s = 0.5\n")
    with connect(home) as client:
        stays = {"id": "a", "report": "cost", "cron": "@yearly", "time_zone": "UTC", "parameters": {}, "enabled": True}
        client.record("schedule", stays)
        pid = client.status()["pid"]
        client.close()
        assert not wait_for(lambda: not home.gateway_file.exists(), 2.5)
        assert client.status()["pid"] == pid
        client.record("schedule", {**stays, "removed": True})
        client.close()
        assert wait_for(lambda: not home.gateway_file.exists(), 20), "it goes when there is nothing to keep"
