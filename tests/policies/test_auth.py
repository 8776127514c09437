"""Virtual keys and the models of a team."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from faults import FaultServer
from gatewaykit import ask, model, world

from aiplat_lab.core.errors import AuthRefused, UsageError
from aiplat_lab.core.settings import Home
from aiplat_lab.core.types import Attribution
from aiplat_lab.ledger import Ledger
from aiplat_lab.policies import KeyRing

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def test_a_key_is_shown_once_and_kept_as_a_hash(home: Home) -> None:
    ledger = Ledger.open(home)
    made = KeyRing(ledger).create(name="ci", team="risk", models=("fast",))
    assert made.text.startswith("aiplat-") and len(made.text) > 40
    assert made.key.last_four == made.text[-4:] and made.text not in str(made.key)
    ledger.close()
    again = Ledger.open(home)
    found = KeyRing(again).check(made.text)
    assert (found.id, found.team, found.models, found.name) == (made.key.id, "risk", ("fast",), "ci")
    assert made.text not in str(again.view_rows("live_keys", {}))
    again.close()
    assert all(made.text.encode() not in path.read_bytes() for path in home.path.rglob("*") if path.is_file())


def test_wrong_keys(home: Home) -> None:
    now = [NOW]
    ledger = Ledger.open(home)
    ring = KeyRing(ledger, clock=lambda: now[0])
    made = ring.create(name="short", expires_at=NOW + timedelta(hours=1))
    assert ring.check(made.text).id == made.key.id
    with pytest.raises(AuthRefused, match="missing"):
        ring.check("")
    with pytest.raises(AuthRefused, match="not a virtual key") as other:
        ring.check("sk-proj-0123456789abcdef0123456789abcdef")
    assert "0123456789" not in str(other.value)
    with pytest.raises(AuthRefused, match="unknown") as unknown:
        ring.check("aiplat-0123456789abcdef0123456789abcdef")
    assert "0123456789" not in str(unknown.value)
    now[0] = NOW + timedelta(hours=2)
    with pytest.raises(AuthRefused, match="expired"):
        ring.check(made.text)
    with pytest.raises(UsageError, match="in the future"):
        ring.create(name="late", expires_at=NOW)
    ledger.close()


def test_revoking(home: Home) -> None:
    ledger = Ledger.open(home)
    ring = KeyRing(ledger)
    made, other = ring.create(name="a"), ring.create(name="b")
    with pytest.raises(UsageError, match="no key 'zzz'"):
        ring.revoke("zzz")
    assert ring.revoke(made.key.id).revoked_at is not None
    with pytest.raises(AuthRefused, match="revoked"):
        ring.check(made.text)
    assert ring.check(other.text).name == "b"
    assert [key.name for key in ring.all()] == ["a", "b"]
    ledger.close()
    again = Ledger.open(home)
    ring = KeyRing(again)
    with pytest.raises(AuthRefused, match="revoked"):
        ring.check(made.text)
    assert ring.check(other.text).name == "b"
    again.close()


def test_a_key_decides_the_attribution() -> None:
    from aiplat_lab.policies import Key

    key = Key(id="k", name="n", sha256="", last_four="", created_at=NOW, team="risk")
    who = key.attribute(Attribution(team="other", project="p", surface="http"))
    assert (who.team, who.project, who.key_id) == ("risk", "p", "k")


def test_calls_with_keys(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        toml = model("fast", "instant") + model("slow", "instant") + '[teams.risk]\ncost_centre = "CC"\nmodels = ["fast"]\n'
        async with world(home, upstream, toml) as here:
            key = here.gateway.keys.create(name="k", team="risk").key
            request = ask("fast", surface="http", key_id=key.id, team="pretended")
            await here.gateway.handle(request)
            row = here.row(request.call_id)
            assert (row["key_id"], row["team"], row["cost_centre"]) == (key.id, "risk", "CC")
            with pytest.raises(AuthRefused, match="it may use fast"):
                await here.gateway.handle(ask("slow", surface="http", key_id=key.id))
            here.gateway.keys.revoke(key.id)
            refused = ask("fast", surface="http", key_id=key.id)
            with pytest.raises(AuthRefused, match="revoked"):
                await here.gateway.handle(refused)
            assert here.row(refused.call_id)["status"] == "refused"
            with pytest.raises(AuthRefused, match="unknown"):
                await here.gateway.handle(ask("fast", surface="http", key_id="key-nobody"))

    asyncio.run(run())


# --- rotation, roles, last use ----------------------------------------------------------------------------------------


def test_a_rotation_overlaps_and_survives_a_restart(home: Home) -> None:
    now = [NOW]
    ledger = Ledger.open(home, clock=lambda: now[0])
    ring = KeyRing(ledger, clock=lambda: now[0])
    about = {"team": "risk", "models": ("fast",), "role": "maintainer", "limit_usd": Decimal("2.5"), "limit_period": "month", "rpm": 6}
    old = ring.create(name="ci", expires_at=NOW + timedelta(days=30), **about)
    now[0] = NOW + timedelta(days=29)
    new = ring.rotate(old.key.id, overlap=timedelta(hours=24))
    assert new.key.replaces == old.key.id and new.text != old.text
    assert all(getattr(new.key, name) == value for name, value in about.items())
    assert new.key.expires_at == now[0] + timedelta(days=30)  # as long a life as the old one's
    assert (ring.state(old.key), ring.state(new.key)) == ("rotating", "live")
    ledger.close()
    now[0] += timedelta(hours=23)
    again = Ledger.open(home, clock=lambda: now[0])
    ring = KeyRing(again, clock=lambda: now[0])
    assert ring.check(old.text).id == old.key.id and ring.check(new.text).id == new.key.id
    assert ring.state(ring.one(old.key.id)) == "rotating"
    now[0] += timedelta(hours=1)
    with pytest.raises(AuthRefused, match=rf"was replaced by another one \(…{new.text[-4:]}\)"):
        ring.check(old.text)
    assert ring.state(ring.one(old.key.id)) == "expired" and ring.check(new.text)
    again.close()


def test_a_rotation_never_lengthens_the_old_key(home: Home) -> None:
    ledger = Ledger.open(home)
    ring = KeyRing(ledger, clock=lambda: NOW)
    old = ring.create(expires_at=NOW + timedelta(hours=1)).key
    ring.rotate(old.id, overlap=timedelta(days=7))
    assert ring.one(old.id).expires_at == NOW + timedelta(hours=1)
    endless = ring.create(name="endless").key
    assert ring.rotate(endless.id, overlap=timedelta(hours=2)).key.expires_at is None
    assert ring.one(endless.id).expires_at == NOW + timedelta(hours=2)
    ledger.close()


def test_what_cannot_be_rotated(home: Home) -> None:
    now = [NOW]
    ledger = Ledger.open(home)
    ring = KeyRing(ledger, clock=lambda: now[0])
    revoked, expired, twice = (
        ring.create(name="r").key,
        ring.create(name="e", expires_at=NOW + timedelta(hours=1)).key,
        ring.create(name="t").key,
    )
    ring.revoke(revoked.id)
    now[0] = NOW + timedelta(hours=2)
    for key, why in ((revoked, "is revoked"), (expired, "is expired")):
        with pytest.raises(UsageError, match=why):
            ring.rotate(key.id, overlap=timedelta())
    with pytest.raises(UsageError, match="no key"):
        ring.rotate("nobody", overlap=timedelta())
    with pytest.raises(UsageError, match="below 0"):
        ring.rotate(twice.id, overlap=timedelta(hours=-1))
    new = ring.rotate(twice.id, overlap=timedelta(days=1)).key
    with pytest.raises(UsageError, match=f"replaced by {new.id} already"):
        ring.rotate(twice.id, overlap=timedelta(days=1))
    ring.revoke(new.id)  # the new one leaked: the old one can be rotated again
    assert ring.state(ring.one(twice.id)) == "live" and ring.rotate(twice.id, overlap=timedelta(0)).key.replaces == twice.id
    ledger.close()


def test_a_live_key_is_any_that_opens_something(home: Home) -> None:
    now = [NOW]
    ledger = Ledger.open(home)
    ring = KeyRing(ledger, clock=lambda: now[0])
    assert not ring.any_live()
    key = ring.create(expires_at=NOW + timedelta(hours=1)).key
    assert ring.any_live()
    now[0] = NOW + timedelta(hours=1)
    assert not ring.any_live() and ring.state(key) == "expired"
    ledger.close()


def test_last_use_is_kept_in_memory_and_writes_nothing(home: Home) -> None:
    now = [NOW]
    ledger = Ledger.open(home)
    ring = KeyRing(ledger, clock=lambda: now[0])
    made = ring.create()
    head = ledger.head
    assert ring.last_used == {}
    now[0] = NOW + timedelta(minutes=5)
    ring.check(made.text)
    assert ring.last_used == {made.key.id: now[0]} and ledger.head == head
    ledger.close()


def test_an_auditor_never_calls_and_its_try_is_a_row(home: Home, upstream: FaultServer) -> None:
    async def run() -> None:
        async with world(home, upstream, model("fast", "instant")) as here:
            key = here.gateway.keys.create(name="audit", team="risk", role="auditor").key
            for stream in (False, True):
                request = ask("fast", "my question", surface="http", key_id=key.id, stream=stream)
                with pytest.raises(AuthRefused, match="reads and never calls"):
                    if stream:
                        async with here.gateway.stream(request):
                            pass
                    else:
                        await here.gateway.handle(request)
                row = here.row(request.call_id)
                assert (row["status"], row["policy"], row["key_id"], row["attempts"]) == ("refused", "auth", key.id, 0)
                assert b"my question" not in (here.ledger.payload(row["request_hash"]) or b"")
            with pytest.raises(AuthRefused, match="never calls"):
                await here.gateway.count_tokens(ask("fast", key_id=key.id))
            assert here.upstream.requests == []

    asyncio.run(run())


PROJECTS = """
[teams.risk]
cost_centre = "CC-team"
[teams.pricing]
models = ["other"]
[projects.churn]
team = "risk"
cost_centre = "CC-project"
[projects.claims]
team = "risk"
[projects.tariff]
team = "pricing"
"""


@pytest.mark.parametrize(
    ("claimed", "team", "cost_centre"),
    [
        ({"project": "churn"}, "risk", "CC-project"),
        ({"project": "claims"}, "risk", "CC-team"),
        ({"project": "churn", "team": "pricing2"}, "pricing2", "CC-project"),
        ({"team": "risk"}, "risk", "CC-team"),
        ({"project": "unknown"}, None, None),
    ],
)
def test_what_a_project_says_of_its_calls(
    home: Home, upstream: FaultServer, claimed: dict[str, str], team: str | None, cost_centre: str | None
):
    async def run() -> None:
        async with world(home, upstream, PROJECTS + model("m", "instant")) as here:
            answer = await here.gateway.handle(ask("m", **claimed))  # type: ignore[arg-type]
            row = here.row(answer.call_id)
            assert (row["team"], row["cost_centre"]) == (team, cost_centre)
            refused = ask("m", project="tariff")
            with pytest.raises(AuthRefused, match="team 'pricing' may not use"):
                await here.gateway.handle(refused)
            assert here.row(refused.call_id)["team"] == "pricing"

    asyncio.run(run())
