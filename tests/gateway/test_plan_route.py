"""`POST /api/plan` and `POST /api/budgets/notebook` over HTTP, with keys and with wrong bodies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from served import Served, served

from aiplat_lab.client import connect
from aiplat_lab.core.errors import UsageError
from aiplat_lab.core.types import Attribution, Message, Request


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("plan") / "home") as found:
        yield found


def test_many_requests_are_planned_in_their_order_and_a_wrong_one_spoils_none(place: Served):
    good = Request(model="priced", messages=(Message("user", "hello"),)).to_json()
    plans = place.client.post("/api/plan", {"requests": [good, {"model": 3}, {**good, "model": "nosuch"}, "x", good]})["plans"]
    assert [one["state"] for one in plans] == ["live", "error", "error", "error", "live"]
    assert plans[1]["error"]["type"] == "UsageError" and "nosuch" in plans[2]["error"]["message"]
    assert place.rows() == [] and place.client.status()["in_flight"] == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "requests"),
        ({"requests": "x"}, "requests"),
        ({"requests": [], "max_usd": "much"}, "max_usd"),
        ({"requests": [], "max_usd": -1}, "max_usd"),
        ({"requests": [{}] * 1001}, "1001"),
    ],
    ids=["nothing", "no-list", "no-number", "negative", "too-many"],
)
def test_a_wrong_body_gives_one_line(place: Served, body: Any, said: str):
    with pytest.raises(UsageError, match=said):
        place.client.post("/api/plan", body)


@pytest.mark.parametrize(
    "body",
    [
        {"limit_usd": "1"},
        {"limit_usd": "1", "notebook": "a", "session": "b"},
        {"limit_usd": "-1", "notebook": "a"},
        {"limit_usd": "NaN", "notebook": "a"},
        {"limit_usd": "1", "notebook": "a", "period": "year"},
        {"limit_usd": "1", "notebook": 5},
    ],
    ids=["whose", "both", "negative", "no-number", "period", "no-text"],
)
def test_a_wrong_budget_is_not_set(place: Served, body: Any):
    with pytest.raises(UsageError):
        place.client.post("/api/budgets/notebook", body)
    assert not [one for one in place.client.get("/api/budgets")["rows"] if one["scope"] == "notebook"]


def test_what_a_virtual_key_sets_holds_its_own_calls_alone(place: Served):
    member = connect(place.home, url=place.http, key=place.key(team="london"))
    shared = {"notebook": "shared.ipynb"}
    who = Attribution(surface="magic", **shared).to_json()
    mine = member.post("/api/budgets/notebook", {**shared, "limit_usd": "0", "attribution": who})["budgets"]
    assert [one["scope"] for one in mine] == ["key + notebook"]
    asked = Request(model="priced", messages=(Message("user", "hello"),), attribution=Attribution(**shared), cache="off")
    assert member.plan([asked])[0]["state"] == "refused"
    assert place.client.plan([asked])[0]["state"] == "live"
    member.close()
