"""Comparisons on paired samples, and the gate: pass, regression, inconclusive, and what it writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from evalkit import place as make_place
from evalkit import rows
from served import Served

from aiplat_lab.core.errors import EvalError, UsageError
from aiplat_lab.evals import Run, baseline, baseline_run, compare, evaluate, gate


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with make_place(tmp_path_factory.mktemp("gates")) as found:
        yield found


def wrong_on(*numbers: int) -> Any:
    """A prompt that makes the echo wrong on these samples."""

    def prompt(values: dict[str, str]) -> str:
        return "wrong" if int(values["text"].split()[1]) in numbers else values["text"]

    prompt.__name__ = f"wrong_on_{len(numbers)}"
    return prompt


def go(place: Served, name: str, *numbers: int, count: int = 200, **options: Any) -> Run:
    options = {"scorers": ["exact", "token_f1"], "evalset": rows(count, wrong_every=1000), **options}
    return evaluate(
        options.pop("evalset"),
        model="m",
        prompt=wrong_on(*numbers),
        name=name,
        client=place.client,
        progress=False,
        concurrency=16,
        **options,
    )


@pytest.fixture(scope="module")
def good(place: Served) -> Run:
    return go(place, "good", *range(10))


def test_a_comparison_pairs_on_samples_and_says_all_a_reader_needs(place: Served, good: Run) -> None:
    worse = go(place, "worse", *range(70))
    found = compare(good, worse, margin=0.05, client=place.client)
    c = found.comparison
    assert (found.verdict, c.n, c.only_a, c.only_b, c.method) == ("worse", 200, 60, 0, "McNemar exact")
    assert c.difference == pytest.approx(-0.3)
    assert c.low < -0.3 < c.high < 0 and c.minimum_detectable_effect
    assert found.sentence.startswith("worse is worse than good: −30 points")
    assert "200" in repr(found) and found.to_json()["pairings"][0]["n"] == 200
    back = compare("worse", "good", client=place.client)
    assert back.verdict == "better" and back.comparison.difference == pytest.approx(0.3)


def test_two_runs_that_are_alike_are_not_worse_within_the_margin_and_else_cannot_be_told(place: Served, good: Run) -> None:
    twin = go(place, "twin", *range(10))
    assert compare(good, twin, margin=0.05, client=place.client).verdict == "not_worse"
    small_a, small_b = go(place, "small", 1, 2, count=24), go(place, "small", 2, 3, count=24)
    found = compare(small_a, small_b, margin=0.05, client=place.client)
    assert found.verdict == "cannot_tell" and found.comparison.n == 24
    assert small_a.prompt in found.sentence, "two prompts tell two runs of one name apart"


def test_repeats_are_averaged_for_each_sample(place: Served) -> None:
    a = go(place, "once", 1, 2, 3, count=30)
    b = go(place, "thrice", 1, count=30, epochs=3)
    found = compare(a, b, client=place.client)
    assert found.comparison.n == 30 and "permutation" in found.comparison.method


def test_several_comparisons_at_once_are_corrected_for(place: Served, good: Run) -> None:
    other = go(place, "other", *range(5), *range(20, 26))
    explored = compare(good, other, scorer=["exact", "token_f1"], slices=True, client=place.client)
    assert len(explored.pairings) == 8 and explored.correction == "Benjamini-Hochberg"
    assert all(one.p_adjusted >= one.comparison.p_value for one in explored.pairings)
    gated = compare(good, other, scorer=["exact", "token_f1"], slices=True, gate=True, client=place.client)
    assert gated.correction == "Holm"
    assert all(a.p_adjusted >= b.p_adjusted - 1e-12 for a, b in zip(gated.pairings, explored.pairings, strict=True))


def test_samples_without_a_score_are_left_out_and_counted(place: Served, good: Run) -> None:
    part = go(place, "part", *range(10), max_cost_usd="0.6", cache="off")
    assert part.status == "capped"
    found = compare(good, part, client=place.client)
    assert found.main.left_out == 200 - found.comparison.n > 0
    assert f"{found.main.left_out} samples were left out" in found.sentence
    with pytest.raises(EvalError, match=r"is capped .*cannot be judged"):
        gate(part, good, client=place.client)


def test_runs_of_different_evalsets_are_not_paired_unless_asked(place: Served, good: Run) -> None:
    grown = go(place, "grown", *range(10), count=220)
    with pytest.raises(UsageError, match="different evalsets"):
        compare(good, grown, client=place.client)
    with pytest.raises(UsageError, match="set a new baseline, or compare the common ids"):
        gate(grown, good, client=place.client)
    found = compare(good, grown, common=True, client=place.client)
    assert (found.comparison.n, found.main.left_out) == (200, 20)
    other = go(place, "foreign", evalset=[{**one, "id": f"x{one['id']}"} for one in rows(20)])
    with pytest.raises(UsageError, match="no sample in common"):
        compare(good, other, common=True, client=place.client)
    with pytest.raises(UsageError, match="Did you mean exact"):
        compare(good, grown, scorer="exat", common=True, client=place.client)


def test_the_gate_passes_fails_and_says_when_it_cannot_tell(place: Served, good: Run) -> None:
    baseline("production", good, reason="first", client=place.client)
    twin, broken, near = go(place, "same", *range(10)), go(place, "broken", *range(80)), go(place, "near", *range(18))
    for run, verdict, code in ((twin, "pass", 0), (broken, "regression", 1), (near, "inconclusive", 3)):
        found = gate(run, "production", 0.05, client=place.client)
        assert (found.verdict, found.exit_code) == (verdict, code)
        assert found.sentence.lower().startswith(verdict)
    assert gate(near, "production", 0.2, client=place.client).verdict == "pass"
    records = place.client.view_rows("eval_gate_list", baseline="production")
    assert {row["verdict"] for row in records} == {"pass", "regression", "inconclusive"}
    assert all(row["baseline_run_id"] == good.id for row in records)
    stored = json.loads(next(row for row in records if row["verdict"] == "regression")["comparison"])
    stored = json.loads(stored) if isinstance(stored, str) else stored
    assert stored[0]["n"] == 200 and stored[0]["scorer"] == "exact"


def test_with_several_scorers_all_must_pass_and_one_regression_is_enough(place: Served, good: Run) -> None:
    broken = go(place, "both", *range(90))
    found = gate(broken, good, scorers=["exact", "token_f1"], client=place.client)
    assert found.verdict == "regression" and [one.verdict.outcome for one in found.parts] == ["regression", "regression"]
    found = gate(go(place, "fine", *range(10)), good, scorers=["exact", "token_f1"], client=place.client)
    assert found.verdict == "pass"


def test_junit_and_markdown_hold_the_verdict(place: Served, good: Run) -> None:
    broken = go(place, "broken <|> run", *range(90))
    found = gate(broken, good, client=place.client)
    suites = ElementTree.fromstring(found.junit())
    assert suites.attrib["failures"] == "1" and suites.attrib["tests"] == "1"
    case = suites.find("testsuite/testcase")
    assert case is not None and case.attrib["name"] == "exact"
    failure = case.find("failure")
    assert failure is not None and "Regression" in failure.attrib["message"]
    text = found.markdown()
    assert text.startswith("## Evaluation gate: ❌ regression") and "| exact | 200 |" in text and "\\|" in text
    open_one = gate(go(place, "near2", *range(18)), good, client=place.client)
    suites = ElementTree.fromstring(open_one.junit())
    assert suites.attrib["skipped"] == "1" and suites.attrib["failures"] == "0"


def test_a_baseline_is_a_name_for_a_run_and_moves(place: Served, good: Run) -> None:
    baseline("moving", good, client=place.client)
    assert baseline_run("moving", client=place.client).id == good.id
    twin = go(place, "twin2", *range(10))
    baseline("moving", "twin2", client=place.client)
    assert baseline_run("moving", client=place.client).id == twin.id
    with pytest.raises(UsageError, match="Did you mean moving"):
        gate(twin, "movin", client=place.client)
    with pytest.raises(UsageError, match="is the baseline itself"):
        gate(twin, "moving", client=place.client)
    for margin in (-0.1, 2):
        with pytest.raises(UsageError, match="from 0 to 1"):
            gate(good, "moving", margin, client=place.client)
    with pytest.raises(UsageError, match="1 to 80 characters"):
        baseline(" ", good, client=place.client)
    none = evaluate(rows(3), model="m", scorers="exact", max_cost_usd=0, cache="off", name="nothing", client=place.client, progress=False)
    with pytest.raises(UsageError, match="can be no baseline"):
        baseline("x", none, client=place.client)


def test_a_run_whose_provider_failed_too_often_is_not_judged(place: Served, good: Run) -> None:
    down = evaluate(rows(200, wrong_every=1000), model="up/status-400", scorers="exact", name="down", client=place.client, progress=False)
    assert down.status == "errors" and down.summary()[0].mean is None
    with pytest.raises(EvalError, match=r"200 of 200 samples .* have no answer"):
        gate(down, good, client=place.client)
