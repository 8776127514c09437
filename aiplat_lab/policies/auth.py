"""Who may call what: virtual keys, and the models of a team.

A virtual key is shown once, when it is made; the ledger keeps its SHA-256 and its last four characters.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from aiplat_lab.core.errors import AuthRefused, UsageError, did_you_mean, redact
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Attribution, Call, Clock, utc_now
from aiplat_lab.ledger import Ledger

Role = Literal["owner", "maintainer", "member", "auditor"]
PREFIX = "aiplat-"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One virtual key, without the key itself."""

    id: str
    """What stands as `key_id` in each row."""
    name: str
    """What people call it."""
    sha256: str
    last_four: str
    created_at: datetime
    team: str = ""
    """The attribution of each call made with the key; an empty text leaves it to the caller."""
    project: str = ""
    user_id: str = ""
    models: tuple[str, ...] = ()
    """The models it may use; empty allows what its team may use."""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    role: Role = "member"
    """What its holder may do: `owner` everything, `maintainer` its team's keys too, `member` calls, `auditor` reads, never calls."""
    limit_usd: Decimal | None = None
    """US dollars that its calls may cost in `limit_period`; None is no limit of its own."""
    limit_period: str = "total"
    """`day`, `week`, `month` or `total`."""
    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None
    replaces: str = ""
    """The id of the key that it takes the place of, after a rotation."""

    def to_json(self) -> dict[str, Any]:
        """What a person may see of the key: not its hash."""
        return {
            "id": self.id,
            "name": self.name,
            "last_four": self.last_four,
            "team": self.team,
            "project": self.project,
            "user_id": self.user_id,
            "models": list(self.models),
            "created_at": _text(self.created_at),
            "expires_at": _text(self.expires_at),
            "revoked_at": _text(self.revoked_at),
            "role": self.role,
            "limit_usd": None if self.limit_usd is None else f"{self.limit_usd:f}",
            "limit_period": self.limit_period,
            "rpm": self.rpm,
            "tpm": self.tpm,
            "parallel": self.parallel,
            "replaces": self.replaces,
        }

    def attribute(self, claimed: Attribution) -> Attribution:
        """The attribution of a call made with this key: what the key says wins over what the caller claims."""
        return replace(
            claimed,
            key_id=self.id,
            team=self.team or claimed.team,
            project=self.project or claimed.project,
            user_id=self.user_id or claimed.user_id,
        )


class NewKey(NamedTuple):
    """A key that was just made, with its text; the text is nowhere else."""

    key: Key
    text: str


class KeyRing:
    """The virtual keys of this home, folded from the ledger's records of kind `key`."""

    def __init__(self, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self._ledger = ledger
        self._clock = clock
        self._by_id: dict[str, Key] = {}
        self._by_hash: dict[str, Key] = {}
        for row in ledger.view_rows("live_keys", {}):
            self._keep(_from_row(row))

    def create(
        self,
        *,
        name: str = "",
        team: str = "",
        project: str = "",
        user_id: str = "",
        models: tuple[str, ...] = (),
        expires_at: datetime | None = None,
    ) -> NewKey:
        """Makes a key; its text can be read from the result and never again.

        Raises:
            UsageError: `expires_at` is not an aware time in the future.
            LedgerError: the ledger cannot be written.
        """
        now = self._clock()
        if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
            raise UsageError(f"a key cannot expire at {expires_at.isoformat()}: give a time in the future, with its zone")
        text = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        key = Key(
            id=f"key-{new_id()[-12:]}",
            name=name or " ".join(filter(None, (team, project, user_id))) or "key",
            sha256=_digest(text),
            last_four=text[-4:],
            created_at=now,
            team=team,
            project=project,
            user_id=user_id,
            models=models,
            expires_at=expires_at,
        )
        self._ledger.record("key", {**key.to_json(), "event": "created", "sha256": key.sha256, "at": now})
        self._keep(key)
        return NewKey(key, text)

    def revoke(self, key_id: str) -> Key:
        """Revokes a key, by its id, its name or its last four characters; it is refused from now on.

        Raises:
            UsageError: there is no such key, or the text means several.
            LedgerError: the ledger cannot be written.
        """
        known = self._by_id.values()
        exact = [key for key in known if key_id == key.id]
        found = exact or [key for key in known if key_id in (key.name, key.last_four) and key.revoked_at is None]
        if not found:
            near = did_you_mean(key_id, [*self._by_id, *(key.name for key in known)])
            raise UsageError(f"there is no key {redact(key_id)!r}.{near} `aiplat keys list` lists them.")
        if len(found) > 1:
            raise UsageError(f"{key_id!r} means {len(found)} keys: {', '.join(key.id for key in found)}. Give the id.")
        now = self._clock()
        key = replace(found[0], revoked_at=found[0].revoked_at or now)
        self._ledger.record("key", {**key.to_json(), "event": "revoked", "sha256": key.sha256, "at": now})
        self._keep(key)
        return key

    def check(self, text: str) -> Key:
        """The key that `text` is.

        Raises:
            AuthRefused: it is missing, unknown, expired or revoked; the error never holds the key.
        """
        if not text:
            raise AuthRefused(
                "a virtual key is missing: send `Authorization: Bearer aiplat-…`; `aiplat keys create` makes one", policy="auth"
            )
        key = self._by_hash.get(_digest(text))
        if key is None:
            raise AuthRefused(
                f"the virtual key that ends in {text[-4:]!r} is unknown here; `aiplat keys create` makes one"
                if text.startswith(PREFIX) and len(text) > len(PREFIX) + 12
                else "the key that was sent is not a virtual key of this gateway (they begin with aiplat-); `aiplat keys create` makes one",
                policy="auth",
            )
        return self.live(key.id)

    def live(self, key_id: str) -> Key:
        """The key of that id.

        Raises:
            AuthRefused: it is unknown, expired or revoked.
        """
        key = self._by_id.get(key_id)
        if key is None:
            raise AuthRefused(f"the virtual key {redact(key_id)} is unknown here; `aiplat keys create` makes one", policy="auth")
        if key.revoked_at is not None:
            raise AuthRefused(
                f"the virtual key {key.name!r} (…{key.last_four}) was revoked on {_text(key.revoked_at)}; `aiplat keys create` makes one",
                policy="auth",
            )
        if key.expires_at is not None and key.expires_at <= self._clock():
            raise AuthRefused(
                f"the virtual key {key.name!r} (…{key.last_four}) expired on {_text(key.expires_at)}; `aiplat keys create` makes one",
                policy="auth",
            )
        return key

    def all(self) -> list[Key]:
        """Every key, the oldest first, revoked ones included."""
        return sorted(self._by_id.values(), key=lambda key: (key.created_at, key.id))

    def _keep(self, key: Key) -> None:
        self._by_id[key.id] = key
        self._by_hash[key.sha256] = key


@register("policy", "auth")
class Auth:
    """Refuses a key that is no longer live and a model that the key or its team may not use; fills in the cost centre.

    A call without a key comes through the owner's own socket: its attribution is believed.
    """

    name = "auth"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        self.keys = KeyRing(ledger, clock=clock)
        self._teams = settings.teams

    async def before(self, call: Call) -> None:
        """Raises `AuthRefused`, or completes the attribution of the request."""
        request = call.request
        who = request.attribution
        if who.key_id:
            key = self.keys.live(who.key_id)
            who = key.attribute(who)
            _allowed(request.model, key.models, f"the virtual key {key.name!r}")
        team = self._teams.get(who.team)
        if team is not None:
            _allowed(request.model, team.models, f"the team {who.team!r}")
            who = replace(who, cost_centre=team.cost_centre or who.cost_centre)
        if who is not request.attribution:
            call.request = replace(request, attribution=who)

    async def after(self, call: Call) -> None:
        """Nothing is left to do."""


def _allowed(model: str, models: tuple[str, ...], holder: str) -> None:
    if models and model not in models:
        raise AuthRefused(f"{holder} may not use the model {model!r}; it may use {', '.join(models)}", policy="auth")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _time(value: Any) -> datetime | None:  # Any: the view gives a time, older records a text
    if value is None or value == "":
        return None
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _from_row(row: Mapping[str, Any]) -> Key:  # Any: a row's values
    return Key(
        id=str(row["id"]),
        name=str(row.get("name") or ""),
        sha256=str(row["sha256"]),
        last_four=str(row.get("last_four") or ""),
        created_at=_time(row.get("created_at")) or datetime.fromtimestamp(0, UTC),
        team=str(row.get("team") or ""),
        project=str(row.get("project") or ""),
        user_id=str(row.get("user_id") or ""),
        models=tuple(row.get("models") or ()),
        expires_at=_time(row.get("expires_at")),
        revoked_at=_time(row.get("revoked_at")),
        role=row.get("role") or "member",
        limit_usd=None if row.get("limit_usd") is None else Decimal(str(row["limit_usd"])),
        limit_period=str(row.get("limit_period") or "total"),
        rpm=row.get("rpm"),
        tpm=row.get("tpm"),
        parallel=row.get("parallel"),
        replaces=str(row.get("replaces") or ""),
    )
