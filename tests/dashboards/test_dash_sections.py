"""What the parts of the Evaluation and Prompts pages say, and that nothing from the ledger is taken for HTML."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from test_dash_results import both, counts, experiment, run, sample, scored

from aiplat_lab.dashboards import _diff, _library, _results, _runs, _samples, _votes
from aiplat_lab.dashboards._data import Answer
from aiplat_lab.dashboards._query import Query
from aiplat_lab.dashboards._sections import Show

EVIL = "<img src=x onerror=alert(1)>\"'&"
SHOW = Show(query=Query(theme="dark"), currency="GBP", rate=Decimal("0.8"))
START = datetime(2026, 11, 1, 9, tzinfo=UTC)


def read(html: str) -> str:
    """What a person reads."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def one(**more: Any) -> dict[str, Any]:
    (row,) = _results.merged([run("r", **more)], [scored("r", [1.0, 1.0, 0.0, 1.0])])
    return row


def test_what_was_not_measured_is_not_evidenced_and_never_zero() -> None:
    (row,) = _results.merged([run("r", status=None)], [])
    text = read(_runs.runs([row], row, None, SHOW))
    assert "not evidenced" in text and "0.0 %" not in text and "£0" not in text
    assert "0 of 4 not finished" in text
    assert read(_runs.headline([row], SHOW)).startswith("Newest score not evidenced no whole run with a score")


@pytest.mark.parametrize(
    ("status", "word"), [("capped", "capped"), ("interrupted", "interrupted"), ("failed", "failed"), (None, "not finished")]
)
def test_a_run_that_is_not_whole_is_marked(status: str | None, word: str) -> None:
    row = one(status=status, reason="the cap of $0.25 was reached")
    html = _runs.runs([row], None, None, SHOW)
    assert word in read(html) and 'title="the cap of $0.25 was reached"' in html and "reach open" in html


def test_errors_stand_apart_from_wrong_answers() -> None:
    row = {**one(), "errors": 3, "asked": 7}
    assert "Without an answer 3 42.9 % of answers; kept apart from wrong ones" in read(_runs.headline([row], SHOW))


def test_a_comparison_says_n_difference_interval_method_reach_and_a_sentence() -> None:
    now, before = one(prompt_version="2.0.0"), one()
    pairs = both("0" * 30 + "1" * 30, "1" * 60)
    found = _results.compared(pairs, names=_runs.names_of(before, now))
    text = read(_runs.comparison(now, before, found, 0, SHOW))
    assert "Better triage@2.0.0 on fast is better than triage@1.0.0 on fast: +50 points" in text
    for part in (
        "Paired difference +50.0 points",
        "95 % interval",
        "(Tango)",
        "McNemar exact, p = ",
        "Samples in both 60",
        "with a chance of 80 %",
    ):
        assert part in text
    assert "Right in one run alone 30 now, 0 before" in text


def test_a_comparison_says_why_to_doubt_it() -> None:
    now = one(evalset_hash="other", scorers=["rubric"], status="capped", reason="the cap was reached")
    found = _results.compared(both("1100", "1010"), names=("A", "B"))
    text = read(_runs.comparison(now, one(), found, 2, SHOW))
    assert "The evalset was changed between the two runs" in text
    assert "the main scorers differ (exact before, rubric now)" in text
    assert "the run now is capped: the cap was reached" in text
    assert "2 samples were left out" in text


def test_runs_without_a_shared_score_are_not_compared() -> None:
    assert "the difference is not evidenced" in read(_runs.comparison(one(), one(), None, 4, SHOW))
    text = read(_runs.comparison(one(), None, None, 0, SHOW))
    assert "no earlier run on claims" in text and "aiplat eval run claims" in text


def test_two_runs_of_the_same_are_told_apart_by_their_time() -> None:
    assert _runs.names_of(one(), one(started_at=START)) == ("the run of 1 Nov 09:00", "the run of 1 Nov 09:00")
    assert _runs.names_of(one(), one(model="careful")) == ("triage@1.0.0 on fast", "triage@1.0.0 on careful")


def test_a_sample_opens_with_both_answers_and_what_differs() -> None:
    rows = [
        sample("q", "s1", 0.0, scores='{"exact": 0}', notes='{"exact": "expected complex"}', call_id="c1", cost_usd=None, latency_s=1.5),
        sample("r", "s1", 1.0, scores='{"exact": 1}', call_id="c2", cost_usd=Decimal("0.01"), latency_s=None),
    ]
    (pair,) = _results.pairs(rows, "r", "q")
    talk = {"messages": [{"role": "system", "content": "Sort."}, {"role": "user", "content": "A tree fell."}]}
    calls = {"before": Answer(rows=[{**talk, "text": "simple: one cause"}]), "now": Answer(rows=[{**talk, "text": "complex: one cause"}])}
    html = _samples.opened(pair, calls, SHOW)
    assert "<del>simple</del>" in html and "<ins>complex</ins>" in html and ": one cause" in html
    text = read(html)
    assert "A tree fell." in text and "expected complex" in text and "not measured, 1.50 s" in text.replace("1.5 s", "1.50 s")
    assert "call=c1" in html and "call=c2" in html


def test_a_sample_without_an_answer_says_why_and_an_erased_one_says_so() -> None:
    rows = [sample("q", "s1", None, error="the provider is unavailable (503)", call_id="c1", cost_usd=None, latency_s=None)]
    rows.append(sample("r", "s1", 1.0, call_id="c2", cost_usd=None, latency_s=None))
    (pair,) = _results.pairs(rows, "r", "q")
    text = read(_samples.opened(pair, {"now": Answer(rows=[{"text": None}])}, SHOW))
    assert "the provider is unavailable (503)" in text and "no answer" in text
    assert "no text of this answer is kept" in text and "none was stored, or it was erased" in text
    assert "the gateway is gone" in read(_samples.opened(pair, {"now": Answer(error="the gateway is gone")}, SHOW))


def test_the_choice_of_samples_counts_each_kind() -> None:
    text = read(_samples.choice(both("1100-", "10-11"), SHOW))
    assert text == "Differ 2 Better 1 Worse 1 No answer 2 All 5"
    assert read(_samples.samples(both("11", "11"), "", SHOW)) == "No sample is of this kind."


def test_a_version_without_calls_and_runs_shows_dashes_and_not_evidenced() -> None:
    saved = [{"name": "triage", "version": "1.0.0", "change": "first", "reason": "", "author": "", "message": "", "recorded_at": START}]
    text = read(_library.versions(_library.by_version(saved, [], [], "triage"), {"production": "1.0.0"}, ("", "1.0.0"), SHOW))
    assert "1.0.0 first production" in text and "not evidenced" in text and "£0" not in text


def test_label_moves_say_who_when_from_to_and_why_and_lead_to_the_evidence() -> None:
    moves = [
        {
            "label": "production",
            "from_version": "1.0.0",
            "version": "2.0.0",
            "moved_by": "ann",
            "reason": "",
            "recorded_at": START,
            "evidence_run": "r1",
        },
        {"label": "staging", "from_version": None, "version": "1.0.0", "moved_by": None, "reason": "new", "recorded_at": START},
    ]
    html = _library.history(moves, "triage", SHOW)
    assert read(html).startswith("production 1.0.0 → 2.0.0 evidence no reason given ann · 1 Nov 2026")
    assert "evaluation?since=all&amp;run=r1&amp;theme=dark" in html
    assert "somebody" in read(html)
    assert "aiplat prompts label triage production VERSION" in read(_library.history([], "triage", SHOW))


def test_the_diff_says_what_was_taken_out_and_put_in() -> None:
    html = _diff.table("a\nkeep it short\nz", "a\nkeep it very short\nz\nnew", names=("1.0.0", "1.1.0"))
    text = read(html)
    assert "taken out: keep it short" in text and "put in: keep it very short" in text and "put in: new" in text
    assert "<ins>very </ins>" in html
    assert "are the same" in read(_diff.table("a", "a", names=("1", "2")))
    assert _diff.words("same", "same") == ("same", "same")


def test_texts_too_long_to_compare_by_word_are_still_shown() -> None:
    long = "word " * 4000
    old, new = _diff.words(long, long + "more")
    assert "<ins>" not in new and new.endswith("more") and old.startswith("word")


def test_an_experiment_says_its_verdict_and_what_each_variant_took() -> None:
    (row,) = _votes.joined([experiment()], counts(A=6, B=5, tie=2))
    use = [
        {"variant": "A", "calls": 10, "errors": 0, "unpriced_calls": 0, "cost_usd": Decimal(1), "output_tokens": 500, "latency_p50_s": 1.0}
    ]
    text = read(_votes.one(row, use, SHOW))
    assert text.startswith("Which? Open No winner yet: A leads B 6 to 5")
    assert "£0.080" in text and "50" in text and "Beside these 2 ties. Raters did not know which was which." in text
    listing = read(_votes.listing([row], row, SHOW))
    assert "Which? shown" in listing and ("more" in listing or "none in sight" in listing)
    assert "aiplat_lab.ab" in read(_votes.listing([], None, SHOW))


def test_votes_lead_to_the_answers_that_were_judged() -> None:
    vote = {"recorded_at": START, "winner": "A", "reason": "shorter", "rater": "ann", "call_ids": json.dumps({"A": "c1", "B": "c2"})}
    html = _votes.last_votes([vote, {**vote, "call_ids": None, "reason": ""}], SHOW)
    assert "call=c1" in html and "call=c2" in html and "no reason given" in read(html)


def _evil_rows() -> list[str]:
    row = one(name=EVIL, evalset=EVIL, prompt_name=EVIL, prompt_version=EVIL, model=EVIL, status="capped", reason=EVIL)
    rows = [sample("q", EVIL, 0.0, slices=json.dumps({EVIL: EVIL}), call_id=EVIL, cost_usd=None, latency_s=None)]
    rows.append(sample("r", EVIL, None, error=EVIL, slices=json.dumps({EVIL: EVIL}), call_id=EVIL, cost_usd=None, latency_s=None))
    pairs = _results.pairs(rows, "r", "q")
    talk = Answer(rows=[{"messages": [{"role": "user", "content": EVIL}], "text": EVIL}])
    saved = [{"name": EVIL, "version": EVIL, "change": EVIL, "reason": EVIL, "author": EVIL, "message": EVIL, "recorded_at": START}]
    names = json.dumps([{"name": EVIL, "prompt": EVIL}, {"name": "B"}])
    (trial,) = _votes.joined([experiment(id=EVIL, name=EVIL, variants=names)], [{**counts(A=3)[0], "experiment": EVIL, "winner": EVIL}])
    move = {
        "label": EVIL,
        "from_version": EVIL,
        "version": EVIL,
        "moved_by": EVIL,
        "reason": EVIL,
        "recorded_at": START,
        "evidence_run": EVIL,
    }
    found = _results.compared(both("1100", "1010"), names=_runs.names_of(row, one()))
    return [
        _runs.headline([row], SHOW),
        _runs.runs([row], one(), row, SHOW),
        _runs.comparison(row, row, found, 0, SHOW),
        _runs.comparison(row, None, None, 0, SHOW),
        _runs.slices(_results.by_slice(pairs, names=(EVIL, EVIL)), paired=True),
        _samples.samples(pairs, EVIL, Show(query=Query(which="all", sample=EVIL))),
        _samples.opened(pairs[0], {"before": talk, "now": talk}, SHOW),
        _library.listing(_library.catalogue(saved, [{"name": EVIL, "label": EVIL, "version": EVIL}], []), EVIL, SHOW),
        _library.versions(_library.by_version(saved, [], [{**row, "status": "complete"}], EVIL), {EVIL: EVIL}, ("", EVIL), SHOW),
        _library.history([move], EVIL, SHOW),
        _library.diff({EVIL: EVIL, "x": "y"}, _library.by_version(saved, [], [], EVIL), ("x", EVIL), SHOW),
        _diff.table(EVIL, EVIL + "x", names=(EVIL, EVIL)),
        _votes.listing([trial], trial, SHOW),
        _votes.one(trial, [], SHOW),
        _votes.last_votes([{"recorded_at": START, "winner": EVIL, "reason": EVIL, "rater": EVIL, "call_ids": {EVIL: EVIL}}], SHOW),
    ]


def test_nothing_from_the_ledger_becomes_an_element() -> None:
    for html in _evil_rows():
        met: list[tuple[str, list[str]]] = []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attrs: met.append((tag, [name for name, _ in attrs]))  # type: ignore[method-assign] # noqa: B023
        parser.feed(html)
        assert met
        assert not [tag for tag, attrs in met if tag == "img" or "onerror" in attrs], html


def test_the_empty_pages_teach_the_first_run_and_the_first_prompt() -> None:
    runs, prompts = read(_runs.empty()), read(_library.empty())
    assert "aiplat eval run" in runs and "aiplat_lab.evaluate" in runs and "aiplat dashboard --demo" in runs
    assert (
        "aiplat prompts save" in prompts
        and "aiplat prompts label" in prompts
        and "%%ai --prompt" in prompts
        and "aiplat_lab.ab(" in prompts
    )
