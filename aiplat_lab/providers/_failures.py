"""What went wrong at a provider, in one line that says what to do: from a status, a reply, a silence or a lost connection."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from aiplat_lab.core.errors import ProviderError, shorten
from aiplat_lab.core.settings import SETTINGS_FILE
from aiplat_lab.core.types import Json

_DETAIL_BYTES = 300
_CONTEXT = re.compile(
    r"context[ _]length|context[ _]window|maximum context|prompt is too long|input is too long|too many (?:input )?tokens"
    r"|exceeds? the (?:available )?context|exceeds the maximum number of tokens"
    r"|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(r"api[ _]key[ _](?:not valid|invalid|expired)|UnrecognizedClient|ExpiredToken|InvalidSignature", re.IGNORECASE)
_DELAY = re.compile(rb'"retryDelay":\s*"(\d{1,6}(?:\.\d{1,9})?)s"')
_NO_CREDIT = re.compile(r"insufficient_quota|exceeded your current quota|credit balance is too low|insufficient (?:balance|credits?)", re.I)


@dataclass(frozen=True, slots=True)
class Where:
    """Whom a call went to, as error texts name it."""

    provider: str
    """The name under `[providers]`."""
    model: str
    """The model's name at that provider."""
    host: str
    """Host and port of the base URL."""
    key_reference: str
    """Where the key stands, such as `env:OPENAI_API_KEY`; never the key."""

    @property
    def key_setting(self) -> str:
        """The words that lead to the key."""
        named = f" (now {self.key_reference})" if self.key_reference else " (none is set)"
        return f"providers.{self.provider}.api_key in {SETTINGS_FILE}{named}"

    @property
    def url_setting(self) -> str:
        """The words that lead to the address."""
        return f"providers.{self.provider}.base_url in {SETTINGS_FILE}"


def failure(
    where: Where, message: str, *, reason: str, status: int | None = None, retryable: bool = False, retry_after_s: float | None = None
) -> ProviderError:
    """A `ProviderError` of that provider and model; `message` goes on after the provider's name."""
    return ProviderError(
        f"{where.provider}: {message}",
        provider=where.provider,
        model=where.model,
        status=status,
        retryable=retryable,
        retry_after_s=retry_after_s,
        reason=reason,
    )


def from_status(where: Where, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """What an HTTP status other than 200 means."""
    code, detail = _detail(body)
    said = f": {detail.rstrip('.')}" if detail else ""
    if status == 429:
        return _too_many(where, said, f"{code} {detail}", wait=_wait(headers, body))
    if status in {400, 413, 422} and (_CONTEXT.search(f"{code} {detail}") or status == 413):
        todo = "Shorten the prompt, or use a model with a larger context."
        return failure(where, f"the prompt is too long for {where.model}{said}. {todo}", reason="context_length", status=status)
    if status in {400, 402} and _NO_CREDIT.search(f"{code} {detail}"):
        return failure(where, f"the account has no credit left{said}. Top it up at the provider.", reason="bad_request", status=status)
    if status == 400 and _BAD_KEY.search(f"{code} {detail}"):
        return failure(where, f"the key was not accepted (400){said}. Correct {where.key_setting}.", reason="auth", status=status)
    if status in {408, 409, 425} or (status >= 500 and status not in {501, 505}):
        wait = _wait(headers, body)
        text = f"the service failed with {status}{said}. Try again later, or add a second deployment to fall back to."
        return failure(where, text, reason="unavailable", status=status, retryable=True, retry_after_s=wait)
    reason, text = _final(where, status, said)
    return failure(where, text, reason=reason, status=status)


def _final(where: Where, status: int, said: str) -> tuple[str, str]:
    """The reason and the text of a status that another try would not change."""
    if status == 401:
        return "auth", f"the key was not accepted (401){said}. Correct {where.key_setting}."
    if status == 403:
        return "auth", f"the key may not do this (403){said}. Give it access to {where.model}, or correct {where.key_setting}."
    if status == 404:
        todo = f"Check the model's name under [models] and {where.url_setting}."
        return "bad_request", f"there is no model {where.model!r} at {where.host} (404){said}. {todo}"
    if 300 <= status < 400:
        return "bad_reply", f"{where.host} answered with a redirect ({status}). Correct {where.url_setting}."
    if 400 <= status < 500:
        return "bad_request", f"the request was refused ({status}){said}. Change the request or its settings."
    return "provider_error", f"{where.host} answered with status {status}{said}. Check {where.url_setting}."


def _too_many(where: Where, said: str, seen: str, *, wait: float | None) -> ProviderError:
    if _NO_CREDIT.search(seen):
        text = f"the account has no credit left (429){said}. Top it up at the provider."
        return failure(where, text, reason="rate_limited", status=429)
    todo = f"Wait {wait:g} s" if wait is not None else "Wait a little"
    text = f"too many requests for {where.model} (429){said}. {todo}, or add a second deployment to fall back to."
    return failure(where, text, reason="rate_limited", status=429, retryable=True, retry_after_s=wait)


def from_error_object(where: Where, error: Json) -> ProviderError:
    """What an error inside a stream, or inside a reply with status 200, means."""
    kind, detail = _detail(json.dumps({"error": error}).encode())
    said = f": {detail.rstrip('.')}" if detail else ""
    status = error.get("code") if isinstance(error, dict) and isinstance(error.get("code"), int) else None
    if status is not None and status >= 400:
        return from_status(where, status, {}, json.dumps({"error": error}).encode())
    if "rate_limit" in kind:
        return failure(where, f"too many requests{said}. Wait a little.", reason="rate_limited", retryable=True)
    if any(word in kind for word in ("overloaded", "server_error", "api_error", "timeout", "unavailable")):
        return failure(where, f"the service failed{said}. Try again later.", reason="unavailable", retryable=True)
    if _CONTEXT.search(f"{kind} {detail}"):
        return failure(where, f"the prompt is too long{said}. Shorten it.", reason="context_length")
    return failure(
        where, f"the service reported an error{said or ' without a text'}. Try again, or change the request.", reason="provider_error"
    )


def unreachable(where: Where, error: Exception) -> ProviderError:
    """No connection, or one that was closed before an answer."""
    text = " ".join(str(error).split())
    cause = f"{type(error.__cause__).__name__ if error.__cause__ else type(error).__name__} {text}".lower()
    if "certificate" in cause or "ssl" in cause:
        why = f"the TLS connection to {where.host} failed ({shorten(text, 200)})"
        todo = f"Correct {where.url_setting}, or point SSL_CERT_FILE at your organisation's certificates and run `aiplat stop`"
    elif "disconnect" in cause or "reset" in cause:
        why, todo = f"{where.host} closed the connection without an answer", "Try again; if it stays so, look at that server"
    elif "timeout" in cause or "timed out" in cause:
        why = f"no connection to {where.host} within providers.{where.provider}.connect_timeout_s"
        todo = f"Check the network and {where.url_setting}"
    else:
        why = f"nothing answers at {where.host} ({shorten(text, 200)})"
        todo = f"Start that service or check the network, or correct {where.url_setting}"
    return failure(where, f"{why}. {todo}.", reason="unavailable", retryable=True)


def too_slow(where: Where, *, seconds: float, setting: str) -> ProviderError:
    """The whole call, or a silence within it, took longer than a setting allows."""
    what = "was silent for" if setting == "read_timeout_s" else "had not finished after"
    todo = f"Raise providers.{where.provider}.{setting} in {SETTINGS_FILE}, or try again"
    if setting == "timeout_s of the request":
        todo = "Give the request more time, or try again"
    return failure(where, f"{where.model} {what} {seconds:g} s. {todo}.", reason="timeout", retryable=True)


def cut_off(where: Where) -> ProviderError:
    """The answer broke off before its end."""
    text = f"the answer of {where.model} was cut off half-way: the connection to {where.host} ended. Try again."
    return failure(where, text, reason="cut_off", retryable=True)


def bad_reply(where: Where, what: str, body: bytes = b"") -> ProviderError:
    """An answer that is not in the wire format.

    Args:
        where: whom the call went to.
        what: what came instead, such as `HTML`.
        body: the start of it, shown to the reader.
    """
    shown = shorten(body[:400].decode("utf-8", "replace"), 120)
    beginning = f", beginning {shown!r}" if shown else ""
    text = f"{where.host} answered with {what}{beginning}. Check {where.url_setting}; a proxy may stand in between."
    return failure(where, text, reason="bad_reply")


def _wait(headers: Mapping[str, str], body: bytes) -> float | None:
    """What the answer asks to wait, in its headers or, as Google does, in its body."""
    told = retry_after(headers)
    found = None if told is not None else _DELAY.search(body)
    return float(found[1]) if found else told


def no_answer(where: Where, data: Mapping[str, Json], what: str = "JSON that holds no answer") -> ProviderError:
    """What a whole reply means that holds no answer: the error that it tells of, or that it cannot be read."""
    if data.get("error"):
        return from_error_object(where, data["error"])
    return bad_reply(where, what, json.dumps(data)[:400].encode())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that `Retry-After` asks to wait, given as milliseconds, seconds or an HTTP date; None without it."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if not value:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if seconds == seconds and seconds != float("inf"):
            return max(0.0, seconds)
    return None


def _detail(body: bytes) -> tuple[str, str]:
    """The code words and the message of an error reply, in whichever shape it has."""
    try:
        data: Any = json.loads(body)  # Any: a foreign error body can have every shape
    except (ValueError, RecursionError):
        text = body[:2000].decode("utf-8", "replace")
        return "", "" if "<" in text[:100] else shorten(text, _DETAIL_BYTES)
    error = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(error, dict):
        code = f"{error.get('code') or ''} {error.get('type') or ''}".strip()
        message = error.get("message") or error.get("detail") or ""
        return code, shorten(message if isinstance(message, str) else json.dumps(message), _DETAIL_BYTES)
    return "", shorten(str(error), _DETAIL_BYTES) if isinstance(error, str) else ""
