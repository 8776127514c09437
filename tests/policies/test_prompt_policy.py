"""Every call of a registered prompt is recorded with the version it used, whatever its caller called it."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faults import FaultServer
from gatewaykit import World, ask, model, world
from served import served

from aiplat_lab import policies
from aiplat_lab.core.errors import AiplatError, CallRefused, PromptError, RecordExists, ResidencyRefused
from aiplat_lab.core.settings import Home, Settings
from aiplat_lab.core.types import Request, new_id

HASHES = {"1.0.0": "a" * 64, "1.1.0": "b" * 64, "2.0.0": "c" * 64}


def write(here: World, name: str = "summarise", versions: tuple[str, ...] = ("1.0.0", "1.1.0")) -> None:
    for version in versions:
        row = {"id": f"{name}@{version}", "name": name, "version": version, "content_hash": HASHES[version], "text": "x", "change": "first"}
        here.ledger.record("prompt_version", row)


def move(here: World, label: str, version: str, name: str = "summarise") -> None:
    here.ledger.record("prompt_label", {"id": new_id(), "name": name, "label": label, "version": version})


def named(prompt: str, version: str = "", **more: Any) -> Request:
    request = ask(more.pop("model", "up/echo"), **more)
    return replace(request, attribution=replace(request.attribution, prompt_name=prompt, prompt_version=version))


async def version_of(here: World, request: Request) -> str:
    answer = await here.gateway.handle(request)
    return str(here.row(answer.call_id)["prompt_version"] or "")


def test_a_label_becomes_the_version_it_means(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            write(here)
            assert await version_of(here, named("summarise")) == "1.1.0"  # without a label, the latest
            move(here, "production", "1.0.0")
            cases = {"": "1.0.0", "production": "1.0.0", "latest": "1.1.0", "1.1.0": "1.1.0", "1": "1.1.0", "1.0": "1.0.0"}
            for said, meant in {**cases, f"sha256:{'b' * 12}": "1.1.0"}.items():
                assert await version_of(here, named("summarise", said)) == meant, said
            move(here, "production", "1.1.0")
            assert await version_of(here, named("summarise", "production")) == "1.1.0"  # from the next call on
            stream = named("summarise", "production", stream=True)
            async with here.gateway.stream(stream) as pieces:
                assert [piece async for piece in pieces]
            assert here.row(stream.call_id)["prompt_version"] == "1.1.0"

    asyncio.run(run())


def test_what_was_folded_before_stands_after_a_restart(home: Home, upstream: FaultServer) -> None:
    async def first() -> None:
        async with world(home, upstream) as here:
            write(here)
            move(here, "production", "1.1.0")
            move(here, "production", "1.0.0")

    async def second() -> None:
        async with world(home, upstream) as here:
            assert await version_of(here, named("summarise", "production")) == "1.0.0"
            write(here, versions=("2.0.0",))
            assert await version_of(here, named("summarise", "latest")) == "2.0.0"

    asyncio.run(first())
    asyncio.run(second())


@pytest.mark.parametrize(
    ("name", "version"), [("mine", ""), ("mine", "v7-final"), ("Not a name!", "production"), ("summarise", f"sha256:{'9' * 12}")]
)
def test_what_is_not_registered_passes_as_it_is(home: Home, upstream: FaultServer, name: str, version: str) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            write(here)
            request = named(name, version)
            assert await version_of(here, request) == version and here.row(request.call_id)["prompt_name"] == name

    asyncio.run(run())


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("prodution", "Did you mean production"),
        ("1.0.7", "Did you mean 1.0.0"),
        ("7", "no version or label '7'"),
        ("v1", "has no version or label 'v1'"),
    ],
)
def test_what_a_registered_prompt_does_not_have_is_refused(home: Home, upstream: FaultServer, version: str, told: str) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            write(here)
            move(here, "production", "1.0.0")
            for stream in (False, True):
                request = named("summarise", version, stream=stream)
                with pytest.raises(CallRefused, match=told) as caught:
                    if stream:
                        async with here.gateway.stream(request):
                            pass
                    else:
                        await here.gateway.handle(request)
                assert caught.value.policy == "prompt"
                row = here.row(request.call_id)
                assert (row["status"], row["policy"], row["attempts"], row["cost_usd"]) == ("refused", "prompt", 0, 0)
            assert upstream.requests == []

    asyncio.run(run())


def test_it_runs_after_residency_and_before_the_cache(home: Home, upstream: FaultServer) -> None:
    order = ("auth", "residency", "wire", "prompt", "redact", "replay", "cache", "limits", "budget")
    assert (*policies.FIRST, *policies.THEN, *policies.LAST) == order
    toml = '[teams.risk]\nresidency = ["eu"]\n' + model("fast", "echo")

    async def run() -> None:
        async with world(home, upstream, toml) as here:
            write(here)
            with pytest.raises(ResidencyRefused):
                await here.gateway.handle(named("summarise", "wrong", model="fast", team="risk"))
            refused = named("summarise", "latest", model="fast", team="risk")
            with pytest.raises(ResidencyRefused):
                await here.gateway.handle(refused)
            assert here.row(refused.call_id)["prompt_version"] == "1.1.0"  # however the call ended
            for _ in range(2):
                assert await version_of(here, named("summarise", "1", model="fast", cache="on")) == "1.1.0"
            with pytest.raises(CallRefused, match="no version or label 'wrong'"):  # a known answer does not pass by it
                await here.gateway.handle(named("summarise", "wrong", model="fast", cache="on"))
            assert len(upstream.requests) == 1

    asyncio.run(run())


def test_what_may_be_recorded(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream) as here:
            write(here)
            good = {"id": "summarise@2.0.0", "name": "summarise", "version": "2.0.0", "content_hash": HASHES["2.0.0"], "parent": "1.1.0"}
            here.gateway.admit("prompt_version", good)
            here.gateway.admit("prompt_label", {"name": "summarise", "label": "trial", "version": "1.0.0", "from_version": ""})
            here.gateway.admit("vote", {"anything": 1})
            wrong: list[tuple[str, dict[str, str], type[AiplatError]]] = [
                ("prompt_version", {**good, "parent": "1.0.0"}, RecordExists),
                ("prompt_version", {**good, "parent": ""}, RecordExists),
                ("prompt_version", {**good, "id": "summarise@1.0.0", "version": "1.0.0"}, RecordExists),
                ("prompt_version", {**good, "version": "2.0"}, PromptError),
                ("prompt_version", {**good, "name": "A B"}, PromptError),
                ("prompt_label", {"name": "summarise", "label": "trial", "version": "1.0.7"}, PromptError),
                ("prompt_label", {"name": "summarise", "label": "1.0.0", "version": "1.0.0"}, PromptError),
                ("prompt_label", {"name": "nobody", "label": "trial", "version": "1.0.0"}, PromptError),
                ("prompt_label", {"name": "summarise", "label": "trial", "version": "1.0.0", "from_version": "1.1.0"}, RecordExists),
            ]
            for kind, row, error in wrong:
                with pytest.raises(error):
                    here.gateway.admit(kind, row)
            assert [here.gateway.guards(kind) for kind in ("prompt_version", "prompt_label", "vote")] == [True, True, False]

    asyncio.run(run())


def test_the_policy_asks_its_memory_alone(home: Home) -> None:
    """A look into memory: no query for a call, however many prompts there are."""
    from aiplat_lab.core.types import Call, utc_now
    from aiplat_lab.ledger import Ledger
    from aiplat_lab.policies.prompt import Prompts

    with Ledger.open(home) as ledger:
        policy = Prompts(Settings(), ledger)
        for index in range(300):
            policy.shelf = policy.shelf.with_version(f"p{index}", "1.0.0", "a" * 64).with_label(f"p{index}", "production", "1.0.0")
        ledger.view_rows = None  # type: ignore[assignment,method-assign]  # whoever asks it now fails
        call = Call(request=named("p7", "production"), started_at=utc_now())
        asyncio.run(policy.before(call))
        assert call.request.attribution.prompt_version == "1.0.0"


def test_an_sdk_names_a_label_in_a_header(tmp_path: Path) -> None:
    with served(tmp_path / "home") as one:
        row = {"id": "mail@1.0.0", "name": "mail", "version": "1.0.0", "content_hash": HASHES["1.0.0"], "text": "x", "change": "first"}
        one.client.record("prompt_version", row, first=True)
        one.client.record("prompt_label", {"id": new_id(), "name": "mail", "label": "production", "version": "1.0.0"})
        key = one.key(team="risk")

        def send(prompt: str) -> int:
            body = json.dumps({"model": "up/echo", "messages": [{"role": "user", "content": "hi"}]}).encode()
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "x-aiplat-prompt": prompt}
            try:
                return int(urllib.request.urlopen(urllib.request.Request(f"{one.http}/v1/chat/completions", body, headers)).status)
            except urllib.error.HTTPError as error:
                assert "Did you mean production" in json.loads(error.read())["error"]["message"]
                return error.code

        assert (send("mail@production"), send("mail@producton"), send("mail"), send("other@production")) == (200, 403, 200, 200)
        said = [(row["prompt_name"], row["prompt_version"], row["status"]) for row in one.rows()]
        assert said == [
            ("other", "production", "ok"),
            ("mail", "1.0.0", "ok"),
            ("mail", "producton", "refused"),
            ("mail", "1.0.0", "ok"),
        ]
