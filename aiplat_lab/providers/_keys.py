"""The key of one provider: read at the last moment, kept for as long as it may be, and taken out of what a command says."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from aiplat_lab.core.errors import ConfigError
from aiplat_lab.core.settings import SETTINGS_FILE, Secret, secret

KEPT_S = 300.0
"""How long a key is kept that is slow to get and does not say when it ends."""
VAULT_S = 5.0
"""How long a key out of the vault is kept, which is quick to get but not quick enough for each call."""
MARGIN_S = 300.0
"""How long before its end a short-lived key is got anew."""
_SLOW = ("keyring:", "command:", "vault:")
_TOKENS = ("access_token", "accessToken", "token", "id_token")
_ENDS = ("expires_on", "expiresOn", "expires_at", "expiry", "Expiration", "token_expiry", "expirationTimestamp")
_LENGTHS = ("expires_in", "expiresIn")


class Found(NamedTuple):
    """A key, and when it ends (seconds since 1970), where it says so."""

    value: str
    ends: float | None


class KeptKey:
    """The key that a reference of one provider leads to.

    One from the environment is read for each call, one from a file when the file has changed; one from a keyring or a command is kept.

    Args:
        name: the provider's name under `[providers]`.
        reference: where the key is; empty is none.
        needed: whether nothing works without a key.
        setting: the setting that holds the reference, for error texts.
    """

    def __init__(self, name: str, reference: str, *, needed: bool, setting: str = "api_key") -> None:
        self._name = name
        self._setting = f"providers.{name}.{setting}"
        self._reference = reference
        self._needed = needed
        self._kept: tuple[float, Secret] | None = None
        self._file: tuple[tuple[int, int, int], Secret] | None = None
        self._path: Path | None = None
        self._asking: asyncio.Future[str] | None = None

    async def get(self) -> str:
        """The key; empty where none is set and none is needed. Calls that come together ask once.

        Raises:
            ConfigError: there is none, or it holds characters that no header can carry.
        """
        reference = self._reference
        if not reference:
            if self._needed:
                example = f'api_key = "env:{self._name.upper().replace("-", "_")}_API_KEY"'
                raise ConfigError(f"{self._name}: {SETTINGS_FILE} names no key: under [providers.{self._name}] write {example}")
            return ""
        if reference.startswith("file:"):
            return self._of_file(reference.removeprefix("file:"))
        if not reference.startswith(_SLOW):
            return self._checked(self._read(), ends=False).value
        if self._kept is not None and self._kept[0] > time.monotonic():
            return self._kept[1].reveal()
        if self._asking is None or self._asking.get_loop() is not asyncio.get_running_loop():
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    def forget(self) -> None:
        """Makes the next call read the key anew."""
        self._kept = self._file = None

    def _of_file(self, path: str) -> str:
        """What a file holds, read again once the file is another one or was written to."""
        try:
            about = (self._path or self._found(path)).stat()
        except OSError:
            return self._checked(self._read(), ends=False).value  # which says what is wrong
        state = (about.st_mtime_ns, about.st_size, about.st_ino)
        if self._file is None or self._file[0] != state:
            self._file = (state, Secret(self._checked(self._read(), ends=False).value))
        return self._file[1].reveal()

    def _found(self, path: str) -> Path:
        self._path = Path(path).expanduser()
        return self._path

    def _asked(self, asking: asyncio.Future[str]) -> None:
        self._asking = None
        if not asking.cancelled():
            asking.exception()  # whoever waited has it; nobody may be left

    async def _ask(self) -> str:
        found = self._checked(await asyncio.to_thread(self._read))
        kept_s = VAULT_S if self._reference.startswith("vault:") else KEPT_S
        left_s = kept_s if found.ends is None else max(0.0, found.ends - time.time() - MARGIN_S)
        self._kept = (time.monotonic() + left_s, Secret(found.value))
        return found.value

    def _read(self) -> str:
        try:
            return secret(self._reference).reveal().strip()
        except ConfigError as error:
            raise ConfigError(f"{self._setting}: {error.message}") from None

    def _checked(self, text: str, *, ends: bool = True) -> Found:
        found = token_of(text) if ends or text.startswith("{") else Found(text, None)
        if not (found.value.isascii() and found.value.isprintable()):
            named = self._reference.partition(" ")[0]
            raise ConfigError(f"{self._setting}: what {named} names holds characters that no key has; set it again")
        return found


def token_of(text: str) -> Found:
    """The key in a text, which may be the key itself or a JSON object around it, such as cloud commands print.

    A JSON object without a token, such as one with AWS credentials, stays whole, on one line.
    """
    if not text.startswith("{"):
        return Found(text, _jwt_end(text))
    try:
        data: Any = json.loads(text)  # Any: JSON from outside, narrowed here
    except (ValueError, RecursionError):
        return Found(text, None)
    inner = data.get("status") if isinstance(data.get("status"), dict) else data
    value = next((inner[name] for name in _TOKENS if isinstance(inner.get(name), str)), None)
    return Found(value or json.dumps(data, separators=(",", ":")), _end(inner) or (_jwt_end(value) if value else None))


def _end(data: Mapping[str, Any]) -> float | None:  # Any: JSON
    for name in _ENDS:
        value = data.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str) and value:
            return _moment(value)
    lengths = [data[name] for name in _LENGTHS if isinstance(data.get(name), int | float)]
    return time.time() + float(lengths[0]) if lengths else None


def _moment(text: str) -> float | None:
    """Seconds since 1970 of a time as commands write it: a number, or ISO 8601; local time where it names no zone."""
    if text.isdecimal():
        return float(text)
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except ValueError:
        return None


def _jwt_end(text: str) -> float | None:
    """When a JSON web token ends; None for every other text."""
    parts = text.split(".")
    if len(parts) != 3 or not text.startswith("ey"):
        return None
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))  # Any: as above
        return float(claims["exp"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
