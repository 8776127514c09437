"""`aiplat route explain` and `aiplat bench savings` as a person runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from clikit import Line
from served import Served, served

TABLES = """
[models.m]
strategy = "cheapest"
deployments = [
  { provider = "up", model = "instant@dear", input_usd_per_mtok = 9, output_usd_per_mtok = 9, lacks = ["tools"] },
  { provider = "up", model = "instant@cheap", input_usd_per_mtok = 1, output_usd_per_mtok = 1, lacks = ["images"] },
  { provider = "claude", model = "instant", input_usd_per_mtok = 5, output_usd_per_mtok = 5 },
]
[[models.m.rules]]
use = ["up/instant@dear"]
prompt = "judge"
tag = "stage=test"
[models.routed]
strategy = "cheapest"
deployments = [{ provider = "up", model = "echo@r", input_usd_per_mtok = 600, output_usd_per_mtok = 600 }]
[models.strong]
deployments = [{ provider = "up", model = "echo@s", input_usd_per_mtok = 1000, output_usd_per_mtok = 1000 }]
[teams.brussels]
residency = ["eu"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("routecli") / "home", tables=TABLES) as found:
        yield found


@pytest.fixture
def line(place: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Line:
    for name in ("AIPLAT_GATEWAY", "AIPLAT_KEY", "AIPLAT_TEAM", "AIPLAT_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIPLAT_HOME", str(place.home.path))
    return Line(capsys, place.home.path)


def order(line: Line, *words: str) -> list[str]:
    return [row["deployment"] for row in line("route", "explain", "m", *words, "--json").rows if row["try"] is not None]


def test_it_says_where_a_call_would_go(line: Line, place: Served) -> None:
    assert order(line) == ["up/instant@cheap", "claude/instant", "up/instant@dear"]
    assert order(line, "--tools") == ["up/instant@cheap", "claude/instant"]
    assert order(line, "--image") == ["claude/instant", "up/instant@dear"]
    assert order(line, "--image", "--tools") == ["claude/instant"]
    assert order(line, "--team", "london") == ["up/instant@cheap", "up/instant@dear"]
    assert order(line, "--prompt", "judge", "--tag", "stage=test") == ["up/instant@dear"]
    said = line("route", "explain", "m", "--team", "london", "--tokens", "5000")
    assert "m (cheapest): cheapest: up/instant@cheap" in said.err and "about 5000 tokens in" in said.err
    assert "its region (us) is not allowed here" in said.out and "uk" in said.out and "closed" in said.out
    assert not place.upstream.requests, "nothing is sent"
    assert not place.rows(), "and no row is written"


def test_a_request_from_a_file(line: Line, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    body = {
        "model": "other",
        "messages": [{"role": "user", "content": "word " * 400}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }
    path.write_text(json.dumps(body))
    assert order(line, "--file", str(path)) == ["up/instant@cheap", "claude/instant"]
    assert "about 65" in line("route", "explain", "m", "--file", str(path)).err, "400 words and a tool"


def test_what_is_refused_says_why(line: Line, tmp_path: Path) -> None:
    line("route", "explain", "m", "--team", "brussels").complains(1, "may compute in eu only")
    line("route", "explain", "smollm2", "--tools").complains(
        1, "cannot do what this request needs: calling tools", "Use priced, priced-claude, m"
    )
    line("route", "explain", "nosuch").complains(1, "there is no model 'nosuch'")
    line("route", "explain", "m", "--tag", "stage").complains(2, "write name=value")
    line("route", "explain", "m", "--file", str(tmp_path / "none.json")).complains(2, "none.json")
    (tmp_path / "bad.json").write_text("{")
    line("route", "explain", "m", "--file", str(tmp_path / "bad.json")).complains(2, "is not JSON")
    (tmp_path / "list.json").write_text("[]")
    line("route", "explain", "m", "--file", str(tmp_path / "list.json")).complains(2, "holds a JSON list")
    line("route", "explain", "m", "--tokens", "-1").complains(2, "not a whole number")


def test_a_key_asks_for_its_own_team(place: Served) -> None:
    key = place.key(name="k", team="london")

    def post(body: dict[str, object], bearer: str = key) -> tuple[int, dict[str, object]]:
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        request = Request(f"{place.http}/api/route/explain", json.dumps(body).encode(), headers)
        try:
            with urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)

    status, told = post({"model": "m", "attribution": {"team": "elsewhere"}})
    names = [one["deployment"] for one in told["deployments"] if one["try"]]  # type: ignore[attr-defined, index]
    assert status == 200 and names == ["up/instant@cheap", "up/instant@dear"]
    assert post({"model": "m"}, "aiplat-not-a-key-00000000000000000000")[0] == 401
    assert post({"model": "m", "input_tokens": -3})[0] == 400
    assert post({"model": "m", "messages": [3]})[0] == 400
    anybody = place.key(name="anybody")
    assert post({"model": "smollm2", "tools": [{"type": "function", "function": {"name": "f"}}]}, anybody)[0] == 400


def test_savings_of_named_models(line: Line, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    rows = [{"id": f"q{i}", "input": {"text": f"say {i}"}, "target": f"say {i}"} for i in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("bench", "savings", "--strong", "strong", "--routed", "routed", "--evalset", str(path), "--scorer", "exact", "--again", "0.5")
    found = line(*words, "--json").rows[0]
    assert (found["questions"], found["calls"], found["cached"]) == (12, 18, 6) and found["by_routing"] == pytest.approx(0.4)
    said = line(*words)
    assert "routed, cache on" in said.out and "% saved (95 % interval" in said.out


def test_savings_used_wrongly(line: Line, place: Served) -> None:
    line("bench", "savings", "--strong", "strong").complains(2, "--strong and --routed go together")
    line("bench", "savings", "--again", "2").complains(2, "not a number from 0 to 1")
    line("bench", "savings", "--strong", "strong", "--routed", "nosuch", "--evalset", "ticket-sentiment").complains(2, "no model 'nosuch'")
    assert not [seen for seen in place.upstream.requests if seen.model == "echo@s" and "ticket" in str(seen.body).lower()]
