"""Many callers at once against hard budgets, through a real gateway process over HTTP, from two processes of clients without an SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from faults import FaultServer
from served import KEY, Served, stop, write_settings

from aiplat_lab.client import connect
from aiplat_lab.core.settings import Home

CALL = Decimal("0.0002625")
"""What 25 tokens in and 20 out cost at 2.5 and 10 dollars a million."""
CLIENTS = """
import asyncio, json, sys
import aiohttp
plan = json.loads(sys.argv[1])
async def one(session, index):
    body = {"model": plan["model"], "messages": [{"role": "user", "content": plan["texts"][index % len(plan["texts"])]}]}
    if plan["max_tokens"]:
        body["max_tokens"] = plan["max_tokens"]
    headers = {"Authorization": "Bearer " + plan["keys"][index % len(plan["keys"])], **plan["headers"]}
    async with session.post(plan["url"] + "/v1/chat/completions", json=body, headers=headers) as answer:
        text = await answer.text()
        return answer.status, {k: v for k, v in answer.headers.items() if k.startswith("x-aiplat-")}, text if answer.status != 200 else ""
async def whole():
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:
        print("ready", flush=True)
        sys.stdin.readline()
        return await asyncio.gather(*(one(session, index) for index in range(plan["callers"])))
print(json.dumps(asyncio.run(whole())))
"""


@dataclass
class Case:
    """One storm: who calls what, and the budgets that hold it."""

    name: str
    budgets: list[dict[str, Any]]
    """Each with `limit_usd` and scopes; a key is named by its number, such as `key = 0`."""
    model: str = "m"
    max_tokens: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    team: str = ""
    project: str = ""
    keys: int = 1
    texts: list[str] = field(default_factory=lambda: ["x"])


@dataclass
class Result:
    """What came of it."""

    answered: int
    refused: int
    spent_usd: list[Decimal]
    """Of each budget, as the counter has it."""
    limit_usd: list[Decimal]
    ledger_usd: Decimal
    """What the ledger's rows of this storm cost."""
    flagged: int
    """Calls that cost more than was held for them."""
    wrong: list[str]
    """Answers that were neither 200 nor a refusal in OpenAI's shape."""
    notes: list[dict[str, str]]

    @property
    def ratio(self) -> float:
        """The highest spend over budget."""
        return max(float(spent / limit) for spent, limit in zip(self.spent_usd, self.limit_usd, strict=True))


def models(upstream: FaultServer, *, name: str = "instant") -> str:
    """Models at the prices of gpt-4o: `m`, `both` of two providers, `over` which writes four times its limit, `echo`."""
    price = "input_usd_per_mtok = 2.5, output_usd_per_mtok = 10, max_output_tokens = 16384"
    return f"""
[models.m]
deployments = [{{ provider = "up", model = "{name}", {price} }}]
[models.both]
deployments = [{{ provider = "up", model = "{name}", {price} }}, {{ provider = "claude", model = "{name}", {price} }}]
[models.over]
deployments = [{{ provider = "up", model = "overuse", {price} }}]
[models.echo]
deployments = [{{ provider = "up", model = "echo", {price} }}]
"""


def _toml(case: Case, keys: list[str]) -> str:
    text = ""
    for one in case.budgets:
        lines = {**one, "key": keys[one["key"]]} if "key" in one else one
        text += "[[budgets]]\nperiod = 'total'\n" + "".join(
            f"{name} = {value if name == 'limit_usd' else repr(value)}\n" for name, value in lines.items()
        )
    return text


@contextmanager
def gateway(folder: Path, cases: list[Case], *, name: str = "instant") -> Iterator[tuple[Served, dict[str, list[dict[str, str]]]]]:
    """A gateway whose budgets are those of all cases, and the keys of each case."""
    home = Home(folder).create()
    with FaultServer(key=KEY) as upstream:
        write_settings(home, upstream)
        made: dict[str, list[dict[str, str]]] = {}
        try:
            with connect(home) as client:
                for case in cases:
                    about = {"team": case.team, "project": case.project}
                    made[case.name] = [client.post("/api/keys", {"name": f"{case.name} {index}", **about}) for index in range(case.keys)]
            stop(home)
            tables = "".join(_toml(case, [key["id"] for key in made[case.name]]) for case in cases) + models(upstream, name=name)
            centres = "".join(f'[teams.{case.team}]\ncost_centre = "CC-{case.team}"\n' for case in cases if case.team)
            write_settings(home, upstream, tables=centres + tables)
            with connect(home) as client:
                yield Served(home, upstream, client), made
        finally:
            stop(home)


def storm(place: Served, case: Case, keys: list[dict[str, str]], *, callers: int) -> Result:
    """Runs one case with so many callers, half of them in each of two processes."""
    plan = {
        "url": place.http, "keys": [key["key"] for key in keys], "callers": callers // 2, "model": case.model, "texts": case.texts,
        "max_tokens": case.max_tokens, "headers": dict(case.headers),
    }  # fmt: skip
    clients = [
        subprocess.Popen([sys.executable, "-c", CLIENTS, json.dumps(plan)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        for client in clients:
            assert client.stdout is not None and client.stdout.readline().strip() == "ready"
        for client in clients:
            assert client.stdin is not None
            client.stdin.write("go\n")
            client.stdin.flush()
        outs = [client.communicate(timeout=150)[0] for client in clients]
    finally:
        for client in clients:
            if client.poll() is None:
                client.kill()
    answers = [answer for out in outs for answer in json.loads(out)]
    return _result(place, case, keys, answers)


def _result(place: Served, case: Case, keys: list[dict[str, str]], answers: list[Any]) -> Result:
    wrong = [text for status, _, text in answers if status not in (200, 402)]
    for status, _, text in answers:
        if status == 402 and json.loads(text)["error"]["code"] != "insufficient_quota":
            wrong.append(text)
    marks = ", ".join(f"'{key['id']}'" for key in keys)
    sql = "SELECT coalesce(sum(cost_usd), 0) AS usd, count(*) FILTER (list_contains(flags, 'over_reservation')) AS flagged "
    (row,) = place.client.post("/api/query", {"sql": f"{sql} FROM calls WHERE key_id IN ({marks})"})["rows"]
    wanted = [{**one, **({"key": keys[one["key"]]["id"]} if "key" in one else {})} for one in case.budgets]
    figures = {(row["scope"], row["name"]): row for row in place.client.get("/api/budgets")["rows"]}
    order = ("team", "project", "key", "user", "prompt", "cost_centre", "tag", "notebook", "provider")
    found = []
    for one in wanted:
        scopes = [name for name in order if name in one]
        found.append(figures[" + ".join(scopes) or "everyone", " + ".join(str(one[name]) for name in scopes)])
    assert all(Decimal(one["held_usd"]) == 0 for one in found), "a hold is left"
    return Result(
        answered=sum(status == 200 for status, _, _ in answers),
        refused=sum(status == 402 for status, _, _ in answers),
        spent_usd=[Decimal(one["spent_usd"]) for one in found],
        limit_usd=[Decimal(one["limit_usd"]) for one in found],
        ledger_usd=Decimal(str(row["usd"])),
        flagged=int(row["flagged"]),
        wrong=wrong,
        notes=[headers for status, headers, _ in answers if status == 200],
    )


def cases(*, prefix: str = "") -> list[Case]:
    """Every storm that the figures of budgets name; a prefix keeps two sets of them apart."""

    def named(name: str) -> str:
        return f"{prefix}{name}"

    return [
        Case(named("key"), [{"limit_usd": CALL * 8, "key": 0}], max_tokens=20),
        Case(named("key-nomax"), [{"limit_usd": CALL * 8, "key": 0}]),
        Case(named("five"), [{"limit_usd": 5, "key": 0}]),
        Case(
            named("nested"),
            [{"limit_usd": CALL * 8, "key": 0}, {"limit_usd": CALL * 12, "team": named("nested")}, {"limit_usd": 1000}],
            team=named("nested"),
            keys=2,
            max_tokens=20,
        ),
        Case(
            named("tagged"),
            [
                {"limit_usd": CALL * 20, "project": named("tagged")},
                {"limit_usd": CALL * 9, "tag": f"run={named('t')}"},
                {"limit_usd": CALL * 12, "cost_centre": f"CC-{named('centre')}"},
                {"limit_usd": CALL * 7, "project": named("tagged"), "tag": f"run={named('t')}"},
            ],
            team=named("centre"),
            project=named("tagged"),
            headers={"x-aiplat-tags": f"run={named('t')}"},
        ),
        Case(
            named("provider"),
            [
                {"limit_usd": CALL * 8, "provider": "up", "team": named("two")},
                {"limit_usd": CALL * 5, "provider": "claude", "team": named("two")},
            ],
            model="both",
            team=named("two"),
            max_tokens=20,
        ),
        Case(named("over"), [{"limit_usd": CALL * 8, "key": 0}], model="over", max_tokens=20),
        Case(named("mixed"), [{"limit_usd": Decimal("0.05"), "key": 0}], model="echo",
             texts=["word " * (7 * index % 120 + 1) + str(index) for index in range(128)]),
    ]  # fmt: skip
