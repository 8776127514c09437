"""Saving, finding and labelling prompts, through a real gateway."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from promptkit import required, summarise, warmer
from served import Served, served, wait_for

from aiplat_lab import prompts
from aiplat_lab.client import connect
from aiplat_lab.core.errors import AuthRefused, PromptError, RecordExists, UsageError
from aiplat_lab.core.types import new_id
from aiplat_lab.prompts import _store


def test_versions_follow_from_what_changed(place: Served, tmp_path: Path) -> None:
    client = place.client
    first = prompts.save(summarise("a"), "the first", client)
    assert (first.version, first.change, first.new, first.previous) == ("1.0.0", "first", True, "")
    path = tmp_path / "a.prompt.md"
    path.write_text(summarise("a", "very brief"))
    patch = prompts.save(path, client=client)
    assert (patch.version, patch.change, patch.reason) == ("1.0.1", "patch", "the text of the system message changed")
    minor = prompts.save(prompts.parse(warmer("a")), client=client)
    assert (minor.version, minor.change) == ("1.1.0", "minor")
    assert minor.reason == "the setting temperature is 0.5, not 0; the text of the system message changed"
    major = prompts.save(required("a"), client=client)
    assert (major.version, major.change, major.previous) == ("2.0.0", "major", "1.1.0")
    assert prompts.get("a", client).version == prompts.get("a@latest", client).version == "2.0.0"
    assert prompts.get("a@1", client).version == "1.1.0" and prompts.get("a@1.0", client).version == "1.0.1"
    assert prompts.get(f"a@sha256:{patch.content_hash[:12]}", client).version == "1.0.1"
    assert prompts.get("a@1.0.1", client).text == path.read_text()
    row = client.view_rows("prompt_catalogue", prompt="a")[0]
    assert (row["version"], row["message"], row["content_hash"]) == ("1.0.0", "the first", first.content_hash)


def test_the_same_content_makes_no_version(place: Served) -> None:
    client = place.client
    prompts.save(summarise("b"), client=client)
    prompts.save(warmer("b"), client=client)
    again = prompts.save(warmer("b").replace("\n", "\r\n"), client=client)
    assert (again.version, again.new, again.reason) == ("1.1.0", False, "the content is that of 1.1.0 already")
    back = prompts.save(summarise("b") + "\n\n", client=client)
    assert (back.version, back.change) == ("1.0.0", "none") and "to use it, move a label to it" in back.reason
    assert len(client.view_rows("prompt_catalogue", prompt="b")) == 2


def test_a_label_moves_and_moves_back_and_each_move_is_kept(place: Served) -> None:
    client = place.client
    prompts.save(summarise("c"), client=client)
    prompts.save(warmer("c"), client=client)
    assert prompts.get("c", client).version == "1.1.0"  # without a label, the latest
    assert prompts.label("c", "production", "1.0.0", "it is safe", client).from_version == ""
    assert prompts.get("c", client).version == "1.0.0" == prompts.get("c@production", client).version
    assert prompts.get("c@production", client).label == "production"
    moved = prompts.label("c", "production", "latest", "it wins", client, evidence_run="run-7")
    assert (moved.version, moved.from_version, moved.moved) == ("1.1.0", "1.0.0", True)
    assert prompts.label("c", "production", "1.1.0", client=client).moved is False
    prompts.label("c", "production", "1.0.0", "roll back", client)
    assert prompts.get("c@production", client).version == "1.0.0"
    rows = prompts.history("c", client)
    assert [(row["what"], row["version"], row["from"], row["why"]) for row in rows[:3]] == [
        ("production moved", "1.0.0", "1.1.0", "roll back"),
        ("production moved", "1.1.0", "1.0.0", "it wins"),
        ("production set", "1.0.0", "", "it is safe"),
    ]
    assert len(rows) == 5 and all(row["who"] and row["at"] for row in rows)
    assert client.verify()["ok"]


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("sumarise", r"there is no prompt 'sumarise'\. Did you mean summarise"),
        ("d@1.0.7", r"the prompt 'd' has no version or label '1\.0\.7'\. Did you mean 1\.0\.0"),
        ("d@prodution", r"no version or label 'prodution'\. Did you mean production\? It has 1\.0\.0, labels production"),
        ("d@2", r"no version or label '2'"),
        ("d@sha256:00000000", r"no version or label 'sha256:00000000'"),
        ("d@", r"'d@' names no prompt; write name, name@1\.2\.0 or name@production"),
        ("@production", r"names no prompt"),
        ("d@a@b", r"names no prompt"),
        ("library:sumarise", r"the library has no prompt 'sumarise'"),
    ],
)
def test_what_is_not_there_is_told_with_the_nearest(place: Served, reference: str, told: str) -> None:
    prompts.save(summarise("d"), client=place.client)
    prompts.save(summarise("summarise"), client=place.client)
    prompts.label("d", "production", "1.0.0", client=place.client)
    with pytest.raises(PromptError, match=told):
        prompts.get(reference, place.client)


@pytest.mark.parametrize(
    ("label", "version", "told"),
    [
        ("production", "1.0.9", r"no version or label '1\.0\.9'\. Did you mean 1\.0\.0"),
        ("production", "stagin", r"no version or label 'stagin'"),
        ("latest", "1.0.0", r"'latest' is computed"),
        ("1.2.0", "1.0.0", r"'1\.2\.0' looks like a version"),
        ("v2", "1.0.0", r"'v2' looks like a version"),
        ("v1.2.3", "1.0.0", r"looks like a version"),
        ("7", "1.0.0", r"looks like a version"),
        ("Production", "1.0.0", r"'Production' cannot be a label"),
        ("a b", "1.0.0", r"cannot be a label"),
        ("", "1.0.0", r"cannot be a label"),
    ],
)
def test_a_label_points_to_a_version_that_is_there(place: Served, label: str, version: str, told: str) -> None:
    prompts.save(summarise("e"), client=place.client)
    with pytest.raises(PromptError, match=told):
        prompts.label("e", label, version, client=place.client)
    with pytest.raises(PromptError, match=r"no prompt 'nothing-there'"):
        prompts.label("nothing-there", "production", "1.0.0", client=place.client)
    assert place.client.view_rows("prompt_labels_now", prompt="e") == []


def test_the_gateway_itself_keeps_the_registry_in_order(place: Served) -> None:
    """Whoever writes records past the registry cannot break it."""
    client = place.client
    saved = prompts.save(summarise("f"), client=client)
    row = {"id": "f@1.0.0", "name": "f", "version": "1.0.0", "content_hash": saved.content_hash, "text": "x", "change": "first"}
    with pytest.raises(RecordExists):
        client.record("prompt_version", {**row, "content_hash": "0" * 64})
    with pytest.raises(RecordExists):
        client.record("prompt_version", {**row, "id": "f@1.0.1", "version": "1.0.1", "parent": ""})
    with pytest.raises(PromptError, match="is not a version"):
        client.record("prompt_version", {**row, "id": "f@v2", "version": "v2"})
    with pytest.raises(PromptError, match="id of a prompt_version"):
        client.record("prompt_version", {**row, "id": "other", "version": "1.0.1"})
    move = {"id": new_id(), "name": "f", "label": "production", "version": "1.0.0"}
    with pytest.raises(PromptError, match=r"no version or label '9\.9\.9'"):
        client.record("prompt_label", {**move, "version": "9.9.9"})
    with pytest.raises(PromptError, match="no prompt 'ghost'"):
        client.record("prompt_label", {**move, "name": "ghost"})
    with pytest.raises(RecordExists):
        client.record("prompt_label", {**move, "from_version": "1.0.0"})
    with pytest.raises(UsageError):
        client.record("prompt_label", {"id": new_id(), "name": "f"})


# --- two at once ------------------------------------------------------------------------------------------------------


def _both(*work) -> list[object]:
    """What each gives or raises, begun at the same moment."""
    barrier = threading.Barrier(len(work))
    found: list[object] = [None] * len(work)

    def run(index: int) -> None:
        barrier.wait()
        try:
            found[index] = work[index]()
        except PromptError as error:
            found[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.fixture
def others(place: Served, monkeypatch: pytest.MonkeyPatch):
    """Clients as other processes have them: each with a store of its own."""
    clients = [connect(place.home) for _ in range(6)]
    stores = {id(client): _store.Store(client) for client in clients}
    known = _store.store
    monkeypatch.setattr("aiplat_lab.prompts._registry.store", lambda client: stores.get(id(client)) or known(client))
    yield clients
    for client in clients:
        client.close()


def test_of_two_saves_at_once_one_wins_and_the_other_is_told(place: Served, others) -> None:
    prompts.save(summarise("g"), client=place.client)
    for round in range(8):
        texts = [summarise("g", f"brief {round} {index}") for index in range(3)] + [warmer("g").replace("brief", f"{round}")]
        found = _both(
            *(lambda text=text, client=client: prompts.save(text, client=client) for text, client in zip(texts, others, strict=False))
        )
        won = [one for one in found if isinstance(one, prompts.Saved)]
        lost = [one for one in found if isinstance(one, PromptError)]
        assert len(won) + len(lost) == 4 and won
        for error in lost:
            assert "somebody else saved g meanwhile" in error.message and "stands now" in error.message
            assert "aiplat prompts diff g@" in error.message and "save again" in error.message
    rows = place.client.view_rows("prompt_catalogue", prompt="g")
    kept = place.client.sql("SELECT version, parent FROM prompt_versions WHERE name = 'g' ORDER BY seq").rows()
    assert len({row["version"] for row in rows}) == len(rows) == len(kept)
    for (version, _), (_, parent) in pairwise(kept):
        assert parent == version  # each was compared with the one that stood before it


def test_the_same_content_saved_twice_at_once_is_one_version(place: Served, others) -> None:
    found = _both(*(lambda client=client: prompts.save(summarise("h"), client=client) for client in others))
    assert all(isinstance(one, prompts.Saved) and one.version == "1.0.0" for one in found), found
    assert sum(one.new for one in found) == 1  # type: ignore[attr-defined]


def test_of_two_moves_at_once_one_wins_and_the_other_is_told(place: Served, others) -> None:
    client = place.client
    for index in range(4):
        prompts.save(summarise("i", f"brief {index}"), client=client)
    versions = ["1.0.0", "1.0.1", "1.0.2", "1.0.3"]
    found = _both(
        *(lambda v=v, client=client: prompts.label("i", "trial", v, client=client) for v, client in zip(versions, others, strict=False))
    )
    told = [one for one in found if isinstance(one, PromptError)]
    assert all("somebody else moved 'trial' of i meanwhile" in one.message for one in told)
    history = list(reversed(client.view_rows("prompt_label_history", prompt="i")))
    assert len(history) == 4 - len(told) >= 1
    assert [row["from_version"] or "" for row in history] == ["", *(row["version"] for row in history[:-1])]


# --- in a running kernel ----------------------------------------------------------------------------------------------

KERNEL = """
import sys, time
from aiplat_lab import prompts
known = ""
while True:
    now = prompts.get("j@production").version
    if now != known:
        print(now, time.time(), flush=True)
        known = now
    time.sleep(0.002)
"""


def test_a_move_is_seen_by_a_running_kernel_within_a_second(place: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client = place.client
    prompts.save(summarise("j"), client=client)
    prompts.save(warmer("j"), client=client)
    prompts.label("j", "production", "1.0.0", client=client)
    monkeypatch.setenv("AIPLAT_HOME", str(place.home.path))
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL], stdout=subprocess.PIPE, text=True)
    try:
        assert kernel.stdout is not None and kernel.stdout.readline().startswith("1.0.0 ")
        for version in ("1.1.0", "1.0.0", "1.1.0"):
            prompts.label("j", "production", version, client=client)
            moved = time.time()
            seen, at = kernel.stdout.readline().split()
            assert seen == version and float(at) - moved < 1.0
    finally:
        kernel.kill()
        kernel.wait()


def test_without_a_gateway_the_last_copy_counts_and_says_so(tmp_path: Path) -> None:
    with served(tmp_path / "home") as one:
        client = one.client
        prompts.save(summarise("k"), client=client)
        prompts.label("k", "production", "1.0.0", client=client)
        assert prompts.get("k@production", client).last_copy is False
        client.stop()
        assert wait_for(lambda: prompts.get("k@production", client).last_copy)
        code = (
            "from aiplat_lab import prompts\nfrom aiplat_lab.client import connect\nimport sys\n"
            "p = prompts.get('k@production', connect(sys.argv[1], spawn=False))\nprint(p.reference, p.last_copy)"
        )
        said = subprocess.run([sys.executable, "-c", code, str(one.home.path)], capture_output=True, text=True, check=True).stdout
        assert said.split() == ["k@1.0.0", "True"]
        one.client.status()  # starts it again
        assert wait_for(lambda: not prompts.get("k@production", client).last_copy)


def test_a_file_that_was_changed_by_hand_is_not_believed(place: Served) -> None:
    prompts.save(summarise("m"), client=place.client)
    path = place.home.prompts / "m@1.0.0.prompt.md"
    path.write_text(path.read_text().replace("brief", "rude"))
    fresh = _store.Store(place.client)
    assert "brief" in fresh.get("m").text and "rude" not in fresh.get("m").text
    (place.home.prompts / "index.json").write_text("{")
    assert _store.Store(place.client).get("m").version == "1.0.0"
    prompts.save(warmer("m"), client=place.client)
    assert "m@1.1.0" in json.loads((place.home.prompts / "index.json").read_text())["texts"]


def test_the_files_are_made_anew_from_the_ledger(tmp_path: Path) -> None:
    with served(tmp_path / "home") as one:
        prompts.save(summarise("n"), client=one.client)
        prompts.label("n", "production", "1.0.0", client=one.client)
        one.client.stop()
        for path in one.home.prompts.iterdir():
            path.unlink()
        assert prompts.shelf(one.client).entries["n"].labels == {"production": "1.0.0"}
        assert {path.name for path in one.home.prompts.iterdir()} == {"index.json", "n@1.0.0.prompt.md"}
        made = one.home.prompts / "n@1.0.0.prompt.md"
        assert made.read_text() == summarise("n") and made.stat().st_mode & 0o077 == 0


def test_a_shared_gateway_is_asked_and_remembered(place: Served, tmp_path: Path) -> None:
    prompts.save(summarise("o"), client=place.client)
    prompts.save(warmer("o"), client=place.client)
    prompts.label("o", "production", "1.0.0", client=place.client)
    far = connect(tmp_path / "other-home", url=place.http, key=place.key(team="risk"))
    assert prompts.get("o@production", far).version == "1.0.0"
    with pytest.raises(AuthRefused):
        prompts.save(summarise("p"), client=far)
    prompts.label("o", "production", "1.1.0", client=place.client)
    moved = time.monotonic()
    assert wait_for(lambda: prompts.get("o@production", far).version == "1.1.0", 3.0)
    assert time.monotonic() - moved < 1.5
    gone = connect(tmp_path / "other-home", url="http://127.0.0.1:9", key="x")
    known = _store.store(far)
    lost = _store.Store(gone)
    lost._folder, lost._index = known._folder, known._index
    copy = lost.get("o@production")
    assert (copy.version, copy.last_copy) == ("1.1.0", True)


def test_a_snapshot_holds_the_prompts_it_was_made_with(place: Served, tmp_path: Path) -> None:
    prompts.save(summarise("q"), client=place.client)
    prompts.label("q", "production", "1.0.0", client=place.client)
    place.client.post("/api/snapshot", {"path": str(tmp_path / "s.duckdb")})
    prompts.save(warmer("q"), client=place.client)
    sealed = connect(place.home, snapshot=tmp_path / "s.duckdb")
    assert prompts.get("q@latest", sealed).version == "1.0.0" and prompts.get("q", sealed).text == summarise("q")
    with pytest.raises(PromptError, match=r"no version or label '1\.1\.0'"):
        prompts.get("q@1.1.0", sealed)
    assert prompts.shelf(sealed).entries["q"].labels == {"production": "1.0.0"}


def test_a_version_that_can_no_longer_be_read_bars_no_way(place: Served) -> None:
    text = "---\nname: s\nold: key\n---\nx"
    row = {"id": "s@1.0.0", "name": "s", "version": "1.0.0", "content_hash": "d" * 64, "text": text, "change": "first"}
    place.client.record("prompt_version", row)
    with pytest.raises(PromptError, match=r"^s@1\.0\.0:3:1: the front matter has no key 'old'"):
        prompts.get("s", place.client)
    saved = prompts.save(summarise("s"), client=place.client)
    assert (saved.version, saved.change) == ("2.0.0", "major") and "1.0.0 can no longer be read" in saved.reason
    assert prompts.get("s", place.client).version == "2.0.0"


def test_a_prompt_travels_between_processes(place: Served) -> None:
    prompts.save(summarise("t"), client=place.client)
    prompt = prompts.get("t", place.client)
    again = pickle.loads(pickle.dumps(prompt))
    assert again == prompt and again.render({"text": "x"}) == prompt.render({"text": "x"})


def test_a_call_by_a_prompt_is_recorded_with_its_version(place: Served) -> None:
    prompts.save(summarise("r"), client=place.client)
    prompt = prompts.get("r", place.client)
    answer = place.client.chat(prompt.request({"text": "one {{ two }}"}))
    row = place.client.call(answer.call_id)
    assert (row["prompt_name"], row["prompt_version"], row["request_model"]) == ("r", "1.0.0", "priced")
    assert row["messages"][1]["content"] == "Summarise this in a plain tone: one {{ two }}"


def test_the_python_face() -> None:
    import aiplat_lab

    assert aiplat_lab.prompts is prompts and "prompts" in dir(aiplat_lab)
    assert all(hasattr(prompts, name) for name in prompts.__all__)
    code = "import sys, aiplat_lab; print([m for m in ('jinja2', 'yaml', 'aiplat_lab.prompts') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
