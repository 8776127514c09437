"""Review queues: what is put into them, judgements that are never lost or counted twice, and several reviewers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from abkernel import Kernel, control_of
from nbconvert import HTMLExporter
from served import Served, served

import aiplat_lab
from aiplat_lab.client import Client
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.types import Attribution, Message, Request
from aiplat_lab.widgets import Review

MIME = "application/vnd.aiplat.review+json"


def asked(client: Client, *texts: str, **who: Any) -> list[str]:
    """Calls of daily use with these answers."""
    return [
        client.chat(Request(model="echo", messages=(Message("user", text),), attribution=Attribution(surface="magic", **who))).call_id
        for text in texts
    ]


def queue(place: Served, name: str, *texts: str, **more: Any) -> Review:
    return aiplat_lab.review(name, calls=asked(place.client, *texts), reviewer="ann", client=place.client, **more)


def rows(place: Served, name: str) -> list[dict[str, Any]]:
    return place.client.view_rows("review_list", queue=name)


def test_each_judgement_is_a_record_before_the_next_answer_is_in_front(place: Served) -> None:
    made = queue(place, "records", "first", "second")
    item = made.current
    assert item is not None and (item.asked, item.answer, made.left()) == ("first", "first", 2)
    seen: list[tuple[str, int]] = []
    made.listeners.append(lambda: seen.append((made.current.answer if made.current else "", len(rows(place, "records")))))
    made.submit(2, ["wrong"], correction="better", comment="why not")
    assert made.wait() and made.current is not None
    assert all(count >= 1 for answer, count in seen if answer == "second"), "the next came after the record"
    (row,) = rows(place, "records")
    assert (row["reviewer"], row["rating"], row["correction"], row["comment"]) == ("ann", 2, "better", "why not")
    assert row["call_id"] == item.call_id and made.reviews().height == 1
    assert made.corrected() == [{"id": item.call_id, "input": "first", "target": "better"}]
    views = place.client.view_rows("review_queue_list", queue="records")
    assert (views[0]["items"], views[0]["reviewed"], views[0]["reviews"]) == (2, 1, 1)


def test_a_judgement_sent_twice_counts_once_and_a_changed_one_replaces_it(place: Served) -> None:
    made = queue(place, "twice", "only")
    one = made.items()[0]
    first = one.mine.id
    assert made.judge(first, rating=4, labels=["correct"])
    assert not made.judge(first, rating=4, labels=["correct"]), "the same again"
    assert made.wait() and len(rows(place, "twice")) == 1
    place.client.record(
        "review", {"id": first, "queue": "twice", "item_id": one.id, "call_id": one.call_id, "reviewer": "ann", "rating": 4}
    )
    assert len(rows(place, "twice")) == 1, "sent twice"
    assert made.judge(one.mine.id, rating=1, labels=["wrong"]) and made.wait()
    (row,) = rows(place, "twice")
    assert row["rating"] == 1 and len(made.given()) == 1


def test_a_restart_goes_on_where_it_stopped(place: Served) -> None:
    made = queue(place, "restart", "a", "b", "c")
    made.submit(5, ["correct"], comment="good")
    assert made.wait()
    again = aiplat_lab.review("restart", reviewer="ann", client=place.client)
    assert (again.done(), again.left()) == (1, 2) and again.current is not None and again.current.answer == "b"
    kept = again.items()[0].mine
    assert (kept.rating, kept.labels, kept.comment, kept.stored) == (5, ("correct",), "good", True)
    more = queue(place, "restart", "a", "d")
    assert [one.call_id for one in more.items()][:3] == [one.call_id for one in made.items()], "what is there stays"


def test_two_reviewers_share_a_queue_and_both_count(place: Served) -> None:
    ann = queue(place, "shared", "a", "b", "c", raters=2)
    bob = aiplat_lab.review("shared", reviewer="bob", raters=2, client=place.client)
    for made, ratings in ((ann, (1, 5, 3)), (bob, (1, 5, 2))):
        for rating in ratings:
            made.submit(rating)
            assert made.wait()
    assert ann.look() and len(rows(place, "shared")) == 6 and ann.items()[0].others == 1
    found = ann.agreement()
    assert (found.raters, found.shared, found.same) == (2, 3, pytest.approx(2 / 3)) and found.alpha is not None
    assert "2 raters; on the 3 answers that several judged, they agree in 67 % of pairs" in found.sentence("answer")
    one = queue(place, "spread", *"abcdef")
    one.submit(3)
    assert one.wait()
    two = aiplat_lab.review("spread", reviewer="bob", client=place.client)
    assert two.left() == 5, "one reviewer an item is enough"
    two.submit(3)
    assert two.wait() and one.look()
    assert one.current is not None and two.current is not None and one.current.id != two.current.id


def test_the_gateway_is_away_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIPLAT_HOME", str(tmp_path / "home"))
    with served(tmp_path / "home", tables='[models.echo]\ndeployments = [{ provider = "up", model = "echo" }]\n') as own:
        made = aiplat_lab.review("away", calls=asked(own.client, "a", "b"), reviewer="ann", client=own.client)
        record, fails = own.client.record, [True]

        def away(kind: str, row: Any, **more: Any) -> Any:
            if fails[0]:
                from aiplat_lab.core.errors import GatewayUnavailable

                raise GatewayUnavailable("the gateway does not answer")
            return record(kind, row, **more)

        monkeypatch.setattr(own.client, "record", away)
        here = made.items()[0]
        made.submit(2, comment="kept")
        assert not made.wait(0.3) and made.unstored() == 1 and "does not answer" in here.mine.problem
        assert made.current is here, "the next is not shown before this one is stored"
        fails[0] = False
        assert made.wait() and made.unstored() == 0
        assert [row["comment"] for row in own.client.view_rows("review_list", queue="away")] == ["kept"]


def test_low_scores_samples_and_flagged_calls_come_into_a_queue(place: Served) -> None:
    run = aiplat_lab.evaluate(
        [{"id": "s1", "input": "same", "target": "same"}, {"id": "s2", "input": "other", "target": "wanted"}],
        model="echo",
        scorers=["exact"],
        progress=False,
        client=place.client,
    )
    made = aiplat_lab.review("low", run=run.id, reviewer="ann", client=place.client)
    (item,) = made.items()
    assert item.why == "sample s2 scored 0.00" and made.current is not None and made.current.answer == "other"
    asked(place.client, "p1", "p2", "p3", project="reviewed")
    drawn = aiplat_lab.review("drawn", sample=2, seed=3, project="reviewed", client=place.client)
    assert len(drawn.items()) == 2 and "drawn at random from 3 calls" in drawn.items()[0].why
    assert aiplat_lab.review("drawn", sample=2, seed=3, project="reviewed", client=place.client).items()[0].id == drawn.items()[0].id
    with pytest.raises(UsageError, match="nothing was found to review"):
        aiplat_lab.review("flagged", flagged="no_such_flag", client=place.client)
    place.client.chat(Request(model="up/echo", messages=(Message("user", "no price"),), attribution=Attribution(surface="magic")))
    flagged = aiplat_lab.review("flagged", flagged="no_price", most=3, client=place.client)
    assert flagged.items() and all(one.why == "flagged no_price" for one in flagged.items())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"queue": "nowhere"}, "there is no review queue 'nowhere'"),
        ({"queue": "a/b"}, "without '/'"),
        ({"queue": "x", "run": "no-run"}, "there is no evaluation run"),
        ({"queue": "x", "calls": ["abc"]}, "'abc' is no call id"),
        ({"queue": "x", "calls": []}, "nothing was found"),
        ({"queue": "x", "labels": ["a", "a"]}, "different words"),
        ({"queue": "x", "scale": 1}, "from 2 to 9"),
        ({"queue": "x", "sample": 1, "most": 0}, "from 1 to"),
        ({"queue": "x", "raters": 0}, "raters"),
        ({"queue": "x", "project": "p"}, "project filters"),
    ],
)
def test_what_cannot_be_reviewed_is_one_line(place: Served, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        aiplat_lab.review(**options, client=place.client)
    assert said in str(caught.value) and len(str(caught.value)) < 800


def test_what_is_no_judgement_is_refused(place: Served) -> None:
    made = queue(place, "refused", "x")
    for given, said in (({}, "says nothing"), ({"rating": 6}, "from 1 to 5"), ({"labels": ["corect"]}, "Did you mean")):
        with pytest.raises(UsageError, match=said):
            made.submit(**given)
    with pytest.raises(UsageError, match="no item"):
        made.submit(3, item_id="nope")
    assert not rows(place, "refused")


@pytest.fixture(scope="module")
def kernel(place: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    one = Kernel(dict(os.environ), tmp_path_factory.mktemp("notebooks"))
    one.run("import aiplat_lab, aiplat_lab.widgets._review_live")
    one.own_shell()
    yield one
    one.close()


def state(kernel: Kernel, comm: str, wanted: Any) -> dict[str, Any]:
    return dict(kernel.wait(lambda: next((one for _, one in reversed(kernel.heard(comm)) if wanted(one)), None)))


def test_a_control_is_driven_by_messages_and_odd_ones_change_nothing(kernel: Kernel, place: Served) -> None:
    calls = asked(place.client, "<b>one</b>", "two")
    comm = control_of(kernel.run(f"made = aiplat_lab.review('driven', calls={calls}, reviewer='ann')"))
    kernel.tell(comm, {"kind": "ready"})
    first = state(kernel, comm, lambda one: one["item"] and one["item"]["answer"] == "<b>one</b>")
    submit = {"kind": "submit", "id": first["item"]["id"], "rating": 3, "labels": ["unclear"], "correction": "", "comment": "c"}
    odd: list[Any] = [
        {**submit, "rating": "3"},
        {**submit, "labels": ["x"]},
        {**submit, "id": "another"},
        {"kind": "go", "place": 99},
        ["x"],
    ]
    for content in odd:
        kernel.tell(comm, content)
    kernel.tell(comm, submit)
    kernel.tell(comm, submit)  # a double click
    second = state(kernel, comm, lambda one: one["item"]["answer"] == "two")
    assert (second["done"], second["left"]) == (1, 1)
    assert [(row["rating"], row["comment"]) for row in rows(place, "driven")] == [(3, "c")]
    kernel.tell(comm, {"kind": "go", "place": 0})
    shown = state(kernel, comm, lambda one: one["place"] == 0 and one["item"]["stored"])
    assert (shown["item"]["rating"], shown["item"]["labels"], shown["item"]["stored"]) == (3, ["unclear"], True)
    kernel.tell(comm, {"kind": "look"})
    state(kernel, comm, lambda one: one["looked"])


def test_the_record_stays_in_notebooks_pages_and_where_nobody_watches(place: Served, tmp_path: Path) -> None:
    made = queue(place, "kept", "<script>alert(1)</script>", "more")
    assert made.current is not None
    made.submit(1, ["unsafe"], comment="an | alert")
    assert made.wait()
    cell = nbformat.v4.new_code_cell("import aiplat_lab\nresult = aiplat_lab.review('kept', reviewer='ann')\nassert result.current")
    kernelspec = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernelspec), tmp_path / "in.ipynb")
    done = papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", progress_bar=False)
    (output,) = done.cells[0].outputs
    assert sorted(output.data) == sorted([MIME, "text/html", "text/markdown", "text/plain"])
    assert (output.data[MIME]["judged"], output.data[MIME]["left"]) == (1, 1)
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(nbformat.read(tmp_path / "out.ipynb", as_version=4))
    assert "1 of 2 judged by ann, 1 left" in page and "<script>alert(1)" not in page and "an | alert" in page
