"""Random rules and random calls down every path: nothing leaves the regions, and nothing is refused without need."""

from __future__ import annotations

import asyncio
import random

import pytest
from residencykit import PATHS, fuzz, rules

from aiplat_lab.core.settings import Home, parse
from aiplat_lab.policies import Residency


def test_no_call_leaves_its_regions(home: Home):
    account = asyncio.run(fuzz(home, seed=20261126, cases=320, per_rules=40))
    assert account.outside == []
    assert all(account.cases[path] >= 8 for path in PATHS), account.cases
    assert account.cases["refused"] > 30 and account.cases["answered"] > 60 and len(account.sent) > 100, account.cases


def test_the_fence_alone_holds_too(home: Home, monkeypatch: pytest.MonkeyPatch):
    """Without the policy's own filter, as if a route had found deployments elsewhere: what leaves is still checked, last of all."""

    async def nothing(self: Residency, call: object) -> None:
        return None

    monkeypatch.setattr(Residency, "before", nothing)
    account = asyncio.run(fuzz(home, seed=7, cases=160, per_rules=40))
    assert not [one for one in account.outside if one.startswith("sent")] and len(account.sent) > 50


def test_the_account_would_notice(home: Home, monkeypatch: pytest.MonkeyPatch):
    async def nothing(self: Residency, call: object) -> None:
        return None

    monkeypatch.setattr(Residency, "before", nothing)
    monkeypatch.setattr(Residency, "permits", lambda self, who, deployment: None)
    account = asyncio.run(fuzz(home, seed=7, cases=80, per_rules=40))
    assert [one for one in account.outside if one.startswith("sent")]


def test_the_rules_that_are_tried_are_various():
    rng = random.Random(1)
    found = [parse(rules(rng)) for _ in range(30)]
    assert any(one.residency for one in found) and any(not one.residency for one in found)
    assert any(team.residency for one in found for team in one.teams.values())
    assert any(project.residency and project.team for one in found for project in one.projects.values())
