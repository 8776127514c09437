"""Random rules of residency, random calls down every path of a real pipeline, and an account of what left for which region.

The providers are of a kind of our own, registered as a plug-in would be: they note each request that reaches them and answer, fail or
break off as their model's name says. What a call may use is worked out here a second time, by the words of the documentation.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiplat_lab.core import registry
from aiplat_lab.core.errors import AiplatError, CallRefused, ProviderError, ResidencyRefused
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.settings import Home, ProviderSettings, Settings, parse
from aiplat_lab.core.types import Attribution, Chunk, Deployment, Message, Request, Response, Usage, utc_now
from aiplat_lab.gateway._door import Door
from aiplat_lab.gateway.pipeline import Gateway
from aiplat_lab.gateway.server import fault
from aiplat_lab.ledger import Ledger

REGIONS = ("uk", "eu", "us", "uk", "", "UK")
TEAMS, PROJECTS, PROMPTS = ("risk", "pricing", ""), ("churn", "claims", ""), ("triage", "summary", "")
FATES = ("ok", "ok", "ok", "fails", "flaky", "auth", "cut", "slow")
PATHS = ("chat", "stream", "left", "embed", "count", "detached", "cached", "twice", "again", "body", "judge", "timed", "pair")


@dataclass(slots=True)
class Sent:
    """One request that reached a provider."""

    call_id: str
    region: str
    path: str


@dataclass
class Account:
    """What was sent, and what came of it."""

    sent: list[Sent] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    """What must not happen, in words."""
    cases: Counter[str] = field(default_factory=Counter)
    """Calls by path, and by how they ended."""


_now = Account()
_seen: Counter[str] = Counter()


class Fuzzed:
    """A provider that notes what it is asked."""

    wire = "openai.chat"

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        self._name = name

    async def chat(self, request: Request, deployment: Deployment) -> Response:
        await self._fate(request, deployment, "chat")
        return Response(
            text="fine", finish_reason="stop", usage=Usage(input_tokens=5, output_tokens=2), provider=self._name, region=deployment.region
        )

    @asynccontextmanager
    async def stream(self, request: Request, deployment: Deployment) -> AsyncIterator[AsyncIterator[Chunk]]:
        await self._fate(request, deployment, "stream")

        async def pieces() -> AsyncIterator[Chunk]:
            yield Chunk(text="fi")
            if deployment.model.startswith("cut"):
                raise self._error(deployment, "cut_off")
            yield Chunk(text="ne")
            yield Chunk(finish_reason="stop", usage=Usage(input_tokens=5, output_tokens=2))

        yield pieces()

    async def embed(self, request: Request, deployment: Deployment) -> Response:
        await self._fate(request, deployment, "embed")
        return Response(
            text="", embeddings=((0.1,),), usage=Usage(input_tokens=5, output_tokens=0), provider=self._name, region=deployment.region
        )

    async def count_tokens(self, request: Request, deployment: Deployment) -> int:
        await self._fate(request, deployment, "count")
        return 5

    async def aclose(self) -> None:
        pass

    async def _fate(self, request: Request, deployment: Deployment, path: str) -> None:
        _now.sent.append(Sent(request.call_id, deployment.region, path))
        fate = deployment.model.partition("-")[0]
        _seen[deployment.name] += 1
        if fate == "slow":
            await asyncio.sleep(0.002)
        if fate == "auth":
            raise self._error(deployment, "auth")
        if fate == "fails" or (fate == "flaky" and _seen[deployment.name] % 2):
            raise self._error(deployment, "unavailable")

    def _error(self, deployment: Deployment, reason: str) -> ProviderError:
        retryable = reason != "auth"
        return ProviderError("it failed", provider=self._name, model=deployment.model, reason=reason, retryable=retryable)


# --- rules ------------------------------------------------------------------------------------------------------------


def _some(rng: random.Random) -> list[str]:
    return rng.sample(("uk", "eu", "us", "nowhere"), rng.choice((1, 2, 2, 3, 3)))


def rules(rng: random.Random) -> str:
    """A random `aiplat.toml`."""
    lines = []
    for index, region in enumerate(REGIONS):
        lines += [f"[providers.p{index}]", 'kind = "fuzzed"', f'region = "{region}"', f"retries = {rng.randint(0, 1)}"]
    for index in range(4):
        places = [
            f'{{ provider = "p{rng.randrange(len(REGIONS))}", model = "{rng.choice(FATES)}-{index}{n}"{_own(rng)} }}'
            for n in range(rng.randint(1, 4))
        ]
        lines += [
            f"[models.m{index}]",
            f"deployments = [{', '.join(places)}]",
            f'strategy = "{rng.choice(("ordered", "cheapest", "weighted"))}"',
        ]
        lines += ["hedge_after_s = 0.001"] if rng.random() < 0.3 else []
    for team in TEAMS[:2]:
        lines += [f"[teams.{team}]"] + ([f"residency = {_some(rng)}"] if rng.random() < 0.6 else [])
    for project in PROJECTS[:2]:
        lines += [f"[projects.{project}]"] + ([f'team = "{rng.choice(TEAMS[:2])}"'] if rng.random() < 0.5 else [])
        lines += [f"residency = {_some(rng)}"] if rng.random() < 0.4 else []
    for _ in range(rng.randint(0, 3)):
        lines += ["[[residency]]", f"regions = {_some(rng)}"]
        for scope, values in (("team", TEAMS), ("project", PROJECTS), ("prompt", PROMPTS), ("tag", ("kind=pii", "kind=open", ""))):
            lines += [f'{scope} = "{rng.choice(values)}"'] if rng.random() < 0.5 else []
    return "\n".join(lines) + "\n"


def _own(rng: random.Random) -> str:
    price = ", input_usd_per_mtok = 1, output_usd_per_mtok = 2" if rng.random() < 0.7 else ""
    return price + (f', region = "{rng.choice(REGIONS)}"' if rng.random() < 0.3 else "")


def allowed(settings: Settings, who: Attribution, bound: Attribution) -> frozenset[str] | None:
    """The regions that a call may use, by the words of the documentation; None where no rule fits."""
    project = bound.project or who.project
    team = bound.team or who.team
    if not team and project in settings.projects:
        team = settings.projects[project].team
    found = []
    if team in settings.teams and settings.teams[team].residency:
        found.append(set(settings.teams[team].residency))
    if project in settings.projects and settings.projects[project].residency:
        found.append(set(settings.projects[project].residency))
    for entry in settings.residency:
        tags = {f"{name}={value}" for name, value in who.tags.items()}
        given = [(entry.team, {team}), (entry.project, {project}), (entry.prompt, {who.prompt_name}), (entry.tag, tags)]
        if all(not named or named in real for named, real in given):
            found.append(set(entry.regions))
    return frozenset(set.intersection(*found)) if found else None


# --- calls ------------------------------------------------------------------------------------------------------------


@dataclass
class Fuzz:
    """A pipeline under random rules."""

    rng: random.Random
    settings: Settings
    door: Door
    keys: list[Attribution]
    """The attributions that keys bind, with their ids."""

    def request(self) -> tuple[Request, Attribution]:
        """A random call and what its key binds."""
        rng = self.rng
        bound = rng.choice(self.keys)
        who = Attribution(
            surface=rng.choice(("http", "magic", "python")),
            team=rng.choice(TEAMS),
            project=rng.choice(PROJECTS),
            prompt_name=rng.choice(PROMPTS),
            tags={"kind": rng.choice(("pii", "open", "pii2"))} if rng.random() < 0.6 else {},
            key_id=bound.key_id,
        )
        text = f"question {rng.randrange(5)}"
        model = f"p{rng.randrange(len(REGIONS))}/ok-direct" if rng.random() < 0.2 else f"m{rng.randrange(4)}"
        return Request(model=model, messages=(Message("user", text),), attribution=who, call_id=new_id(), cache="off"), bound

    async def case(self) -> None:
        """One call down one path, checked."""
        path = self.rng.choice(PATHS)
        request, bound = self.request()
        may = allowed(self.settings, request.attribution, bound)
        somewhere = [one for one in self.settings.deployments(request.model) if may is None or (one.region and one.region in may)]
        before = len(_now.sent)
        answers, error = await self._ask(path, request)
        _now.cases[path] += 1
        sent = _now.sent[before:]
        facts = f"{path} {request.model} {request.attribution} may {may}"
        if may is not None:
            _now.outside += [f"sent to {one.region!r}: {facts}" for one in sent if not one.region or one.region not in may]
            _now.outside += [f"answered from {one.region!r}: {facts}" for one in answers if not one.region or one.region not in may]
        if not somewhere:
            _now.cases["refused"] += 1
            if sent or not isinstance(error, ResidencyRefused):
                _now.outside.append(f"not refused but {error!r}: {facts}")
        elif isinstance(error, ResidencyRefused):
            _now.outside.append(f"refused without need, {error}: {facts}")
        _now.cases["answered"] += bool(answers)

    async def _ask(self, path: str, request: Request) -> tuple[list[Response], AiplatError | None]:
        answers: list[Response] = []
        try:
            await getattr(self, f"_{path}")(request, answers)
        except CallRefused as error:
            return answers, error
        except AiplatError as error:
            return answers, error
        return answers, None

    async def _chat(self, request: Request, answers: list[Response]) -> None:
        answers.append(await self.door.handle(request))

    async def _stream(self, request: Request, answers: list[Response], *, pieces: int = 99) -> None:
        async with self.door.stream(replace(request, stream=True)) as stream:
            async for _ in stream:
                pieces -= 1
                if not pieces:
                    return
        if stream.response is not None:
            answers.append(stream.response)

    async def _left(self, request: Request, answers: list[Response]) -> None:
        await self._stream(request, answers, pieces=1)

    async def _embed(self, request: Request, answers: list[Response]) -> None:
        await self._chat(replace(request, operation="embed", messages=(), inputs=("a text",)), answers)

    async def _count(self, request: Request, answers: list[Response]) -> None:
        await self.door.gateway.count_tokens(request)

    async def _detached(self, request: Request, answers: list[Response]) -> None:
        answers.append(await self.door.handle_detached(replace(request, detached=True)))

    async def _cached(self, request: Request, answers: list[Response]) -> None:
        await self._chat(replace(request, cache="on"), answers)

    async def _twice(self, request: Request, answers: list[Response]) -> None:
        """Answered for a caller without rules first, where there is one, then asked for by this one."""
        free = replace(request, cache="on", call_id=new_id(), attribution=Attribution(team=request.attribution.team, surface="python"))
        before = len(_now.sent)
        try:
            await self.door.handle(free)
        except AiplatError:
            pass
        may = allowed(self.settings, free.attribution, Attribution())
        _now.outside += [f"sent to {one.region!r}: first of two" for one in _now.sent[before:] if may is not None and one.region not in may]
        del _now.sent[before:]
        await self._chat(replace(request, cache="on"), answers)

    async def _again(self, request: Request, answers: list[Response]) -> None:
        await self._chat(request, answers)
        await self._chat(request, answers)

    async def _body(self, request: Request, answers: list[Response]) -> None:
        body = {"model": request.model, "messages": [message.to_json() for message in request.messages], "region": "us"}
        await self._chat(replace(request, wire="openai.chat", body=body), answers)

    async def _judge(self, request: Request, answers: list[Response]) -> None:
        who = replace(request.attribution, surface="eval", tags={**request.attribution.tags, "scorer": "judge"})
        await self._chat(replace(request, attribution=who), answers)

    async def _timed(self, request: Request, answers: list[Response]) -> None:
        await self._chat(replace(request, timeout_s=0.05), answers)

    async def _pair(self, request: Request, answers: list[Response]) -> None:
        """The same question at once from a caller of the same team without a prompt or tags, who may use more regions."""
        other = replace(
            request, cache="on", call_id=new_id(), attribution=replace(request.attribution, prompt_name="", tags={}, project="")
        )
        before = len(_now.sent)
        mine, _ = await asyncio.gather(self.door.handle(replace(request, cache="on")), self.door.handle(other), return_exceptions=True)
        _now.sent[before:] = [one for one in _now.sent[before:] if one.call_id != other.call_id]
        if isinstance(mine, BaseException):
            raise mine
        answers.append(mine)


async def fuzz(home: Home, *, seed: int, cases: int, per_rules: int = 50) -> Account:
    """Runs so many cases, and gives the account of them."""
    from aiplat_lab.gateway import route

    global _now
    _now = Account()
    rng = random.Random(seed)
    known = {name: getattr(route, name) for name in ("BACKOFF_S", "MAX_BACKOFF_S") if hasattr(route, name)}
    for name in known:
        setattr(route, name, 0.0005)
    registry.register("provider", "fuzzed")(Fuzzed)
    ledger = Ledger.open(home)
    try:
        for _ in range(-(-cases // per_rules)):
            settings = parse(rules(rng))
            gateway = Gateway(settings, ledger)
            await asyncio.sleep(0.002)  # so that every id made from here on is younger than the gateway
            door = Door(home=home, settings=settings, ledger=ledger, gateway=gateway, started_at=utc_now(), fault=fault)
            keys = [Attribution()]
            for team, project in (("risk", ""), ("", "churn"), ("pricing", "claims")):
                key = gateway.keys.create(team=team, project=project).key
                keys.append(Attribution(team=team, project=project, key_id=key.id))
            one = Fuzz(rng, settings, door, keys)
            try:
                for _ in range(min(per_rules, cases - sum(_now.cases[path] for path in PATHS))):
                    await one.case()
            finally:
                await gateway.aclose()
                door.readers.shutdown(wait=False)
    finally:
        ledger.close()
        del registry._found["provider", "fuzzed"]
        for name, value in known.items():
            setattr(route, name, value)
    return _now


def told(account: Account) -> dict[str, Any]:
    """The account in figures."""
    return {**account.cases, "sent": len(account.sent), "outside": len(account.outside)}
