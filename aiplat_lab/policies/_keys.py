"""The virtual keys: what each may do, and the ring that makes, rotates, revokes and finds them.

A virtual key is shown once, when it is made; the ledger keeps its SHA-256 and its last four characters.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple, get_args

from aiplat_lab.core.errors import AuthRefused, UsageError, did_you_mean, redact
from aiplat_lab.core.ids import new_id
from aiplat_lab.core.types import Attribution, Clock, utc_now
from aiplat_lab.ledger import Ledger

Role = Literal["owner", "maintainer", "member", "auditor"]
ROLES: tuple[Role, ...] = get_args(Role)
PERIODS = ("day", "week", "month", "total")
State = Literal["live", "rotating", "expired", "revoked"]
PREFIX = "aiplat-"
_SECRET_BYTES = 32
_LONGEST = 200
_MOST = 999_999_999
"""The most of any limit: what the ledger's columns hold."""


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
        team, project, user_id = self.team or claimed.team, self.project or claimed.project, self.user_id or claimed.user_id
        if (self.id, team, project, user_id) == (claimed.key_id, claimed.team, claimed.project, claimed.user_id):
            return claimed  # the door has said it already
        return replace(claimed, key_id=self.id, team=team, project=project, user_id=user_id)


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
        self._successors: dict[str, Key] = {}
        """The key that took the place of another, by that one's id."""
        self.last_used: dict[str, datetime] = {}
        """When each key was last shown to this process, by id; the ledger has the calls before."""
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
        role: str = "member",
        limit_usd: Decimal | None = None,
        limit_period: str = "total",
        rpm: int | None = None,
        tpm: int | None = None,
        parallel: int | None = None,
    ) -> NewKey:
        """Makes a key; its text can be read from the result and never again.

        Raises:
            UsageError: `expires_at` is not an aware time in the future, there is no such role or period, or a limit is not above 0.
            LedgerError: the ledger cannot be written.
        """
        now = self._clock()
        if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
            raise UsageError(f"a key cannot expire at {expires_at.isoformat()}: give a time in the future, with its zone")
        known_role = next((one for one in ROLES if one == role), None)
        if known_role is None:
            raise UsageError(f"there is no role {role[:40]!r}.{did_you_mean(role, ROLES)} There are {', '.join(ROLES)}.")
        if limit_period not in PERIODS:
            raise UsageError(
                f"there is no period {limit_period[:40]!r}.{did_you_mean(limit_period, PERIODS)} There are {', '.join(PERIODS)}."
            )
        for what, limit in (("limit_usd", limit_usd), ("rpm", rpm), ("tpm", tpm), ("parallel", parallel)):
            if limit is not None and not (Decimal(limit).is_finite() and 0 < limit <= _MOST):
                raise UsageError(f"{what} of a key must be above 0 and at most {_MOST:,}, not {str(limit)[:40]}; leave it out for no limit")
        for what, text in (("name", name), ("team", team), ("project", project), ("user_id", user_id)):
            if len(text) > _LONGEST or not text.isprintable():
                raise UsageError(f"{what} of a key is {text[:40]!r}…; write at most {_LONGEST} printable characters")
        about = Key(
            id="",
            name=name or " ".join(filter(None, (team, project, user_id))) or "key",
            sha256="",
            last_four="",
            created_at=now,
            team=team,
            project=project,
            user_id=user_id,
            models=models,
            expires_at=expires_at,
            role=known_role,
            limit_usd=limit_usd,
            limit_period=limit_period,
            rpm=rpm,
            tpm=tpm,
            parallel=parallel,
        )
        return self._make(about, now)

    def rotate(self, key_id: str, *, overlap: timedelta) -> NewKey:
        """Makes a key with the same rights and the same length of life in place of one, which ends after the overlap.

        Args:
            key_id: its id, its name or its last four characters.
            overlap: for how long both are good.

        Raises:
            UsageError: there is no such key, it is not live, it is being rotated already, or the overlap is below 0.
            LedgerError: the ledger cannot be written.
        """
        now = self._clock()
        old = self.one(key_id)
        state = self.state(old, at=now)
        if state == "rotating":
            raise UsageError(f"the key {old.id} is being replaced by {self._successors[old.id].id} already; rotate that one")
        if state != "live":
            raise UsageError(f"the key {old.id} is {state}, and only a live key can be rotated; `aiplat keys create` makes a new one")
        if overlap < timedelta():
            raise UsageError("the overlap of a rotation cannot be below 0; write 24h, or 0h to end the old key at once")
        try:
            until = now + overlap
            life = None if old.expires_at is None else now + (old.expires_at - old.created_at)
        except OverflowError:
            raise UsageError(f"the overlap of {overlap.days} days is longer than the calendar; write 24h, 7d, …") from None
        made = self._make(replace(old, created_at=now, expires_at=life, replaces=old.id), now)
        ends = until if old.expires_at is None else min(until, old.expires_at)
        self._record("rotated", replace(old, expires_at=ends), now)
        return made

    def revoke(self, key_id: str) -> Key:
        """Revokes a key, by its id, its name or its last four characters; it is refused from now on.

        Raises:
            UsageError: there is no such key, or the text means several.
            LedgerError: the ledger cannot be written.
        """
        now = self._clock()
        known = self.one(key_id)
        key = replace(known, revoked_at=known.revoked_at or now)
        self._record("revoked", key, now)
        return key

    def one(self, text: str) -> Key:
        """The key that a person means by its id, its name or its last four characters.

        Raises:
            UsageError: there is none, or there are several.
        """
        known = self._by_id.values()
        exact = [key for key in known if text == key.id]
        found = exact or [key for key in known if text in (key.name, key.last_four) and key.revoked_at is None]
        if not found:
            near = did_you_mean(text, [*self._by_id, *(key.name for key in known)])
            raise UsageError(f"there is no key {redact(text)!r}.{near} `aiplat keys list` lists them.")
        if len(found) > 1:
            raise UsageError(f"{text!r} means {len(found)} keys: {', '.join(key.id for key in found)}. Give the id.")
        return found[0]

    def find(self, text: str) -> Key:
        """The key that `text` is, live or not.

        Raises:
            AuthRefused: it is missing or unknown; the error never holds the key.
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
        return key

    def check(self, text: str) -> Key:
        """The key that `text` is.

        Raises:
            AuthRefused: it is missing, unknown, expired or revoked; the error never holds the key.
        """
        return self.live(self.find(text).id)

    def live(self, key_id: str, *, at: datetime | None = None) -> Key:
        """The key of that id, which counts as used now.

        Raises:
            AuthRefused: it is unknown, expired or revoked.
        """
        at = at or self._clock()
        key = self._by_id.get(key_id)
        if key is None:
            raise AuthRefused(f"the virtual key {redact(key_id)} is unknown here; `aiplat keys create` makes one", policy="auth", dead=True)
        if key.revoked_at is None and (key.expires_at is None or key.expires_at > at):
            self.last_used[key_id] = at
            return key
        called, todo = f"the virtual key {key.name!r} (…{key.last_four})", "`aiplat keys create` makes one"
        successor = self._successors.get(key_id)
        if key.revoked_at is not None:
            why = f"{called} was revoked on {_text(key.revoked_at)}; {todo}"
        elif successor is not None:
            why = f"{called} was replaced by another one (…{successor.last_four}) and ended on {_text(key.expires_at)}; use that one"
        else:
            why = f"{called} expired on {_text(key.expires_at)}; {todo}"
        raise AuthRefused(why, policy="auth", dead=True)

    def state(self, key: Key, *, at: datetime | None = None) -> State:
        """What a key is good for at a time, or now."""
        if key.revoked_at is not None:
            return "revoked"
        if key.expires_at is not None and key.expires_at <= (at or self._clock()):
            return "expired"
        return "rotating" if key.id in self._successors else "live"

    def any_live(self) -> bool:
        """Whether there is a key that opens anything."""
        return any(self.state(key) in ("live", "rotating") for key in self._by_id.values())

    def all(self) -> list[Key]:
        """Every key, the oldest first, revoked ones included."""
        return sorted(self._by_id.values(), key=lambda key: (key.created_at, key.id))

    def _make(self, about: Key, now: datetime) -> NewKey:
        text = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        key = replace(about, id=f"key-{new_id()[-12:]}", sha256=_digest(text), last_four=text[-4:])
        self._record("created", key, now)
        return NewKey(key, text)

    def _record(self, event: str, key: Key, now: datetime) -> None:
        self._ledger.record("key", {**key.to_json(), "event": event, "sha256": key.sha256, "at": now})
        self._keep(key)

    def _keep(self, key: Key) -> None:
        self._by_id[key.id] = key
        self._by_hash[key.sha256] = key
        if key.replaces and key.revoked_at is None:
            self._successors[key.replaces] = key
        elif key.replaces and getattr(self._successors.get(key.replaces), "id", "") == key.id:
            del self._successors[key.replaces]


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
        limit_usd=None if row.get("limit_usd") is None else Decimal(str(row["limit_usd"])).normalize(),
        limit_period=str(row.get("limit_period") or "total"),
        rpm=row.get("rpm"),
        tpm=row.get("tpm"),
        parallel=row.get("parallel"),
        replaces=str(row.get("replaces") or ""),
    )
