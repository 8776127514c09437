"""Virtual keys and the models of a team."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

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
