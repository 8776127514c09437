"""Every error answers one question: is it my settings, a rule, or the model's side?

The text of an error says what was wrong, with the value, and what to do. It never holds a key: whoever
builds one passes provider texts through `redact`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

MAX_MESSAGE_BYTES = 800
"""The longest error text a person is shown, in bytes of UTF-8."""

_SECRET = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|ghp|hf|aiplat)[-_][A-Za-z0-9_\-]{8,}|AIza[A-Za-z0-9_\-]{20,}"
    r"|(?i:bearer)\s+[A-Za-z0-9._\-]{8,}|[A-Za-z0-9_\-]{40,}"
)


def redact(text: str) -> str:
    """`text` with whatever looks like a key replaced by `***`."""
    return _SECRET.sub("***", text)


def shorten(text: str, limit_bytes: int = MAX_MESSAGE_BYTES) -> str:
    """`text` on one line and cut to `limit_bytes` bytes of UTF-8, with an ellipsis where it was cut."""
    line = " ".join(text.split())
    raw = line.encode("utf-8", "replace")
    if len(raw) <= limit_bytes:
        return line
    return raw[: limit_bytes - 3].decode("utf-8", "ignore") + "…"


def did_you_mean(wrong: str, known: Iterable[str], *, count: int = 3) -> str:
    """`" Did you mean a, b?"` for the nearest of `known`, or an empty text when nothing is near."""
    near = difflib.get_close_matches(wrong, sorted(set(known)), n=count, cutoff=0.5)
    return f" Did you mean {', '.join(near)}?" if near else ""


class AiplatError(Exception):
    """The root: catching it catches whatever aiplat-lab raises on purpose."""

    def __init__(self, message: str, *, call_id: str = "", **details: Any) -> None:
        super().__init__(shorten(message))
        self.call_id = call_id
        """The call in the ledger that failed, or an empty text where none was begun."""
        self.details: dict[str, Any] = details
        """Facts of the error by name, as they travel over the wire."""

    @property
    def message(self) -> str:
        """The one line that a person reads."""
        return str(self.args[0])

    def to_wire(self) -> dict[str, Any]:
        """The error as JSON, for our own clients."""
        return {"type": type(self).__name__, "message": self.message, "call_id": self.call_id, **self.details}


class ConfigError(AiplatError):
    """A setting is wrong or missing; the text names the file and the key."""


class UsageError(AiplatError):
    """A command, option or argument was used wrongly; nothing was begun."""


class UnknownCall(UsageError):
    """There is no call of that id, or it is not over yet."""


class UnknownModel(ConfigError):
    """No model of that name is set up; the text offers the nearest names."""


class CallRefused(AiplatError):
    """A rule said no before anything was spent."""

    def __init__(self, message: str, *, policy: str, call_id: str = "", **details: Any) -> None:
        super().__init__(message, call_id=call_id, policy=policy, **details)
        self.policy = policy
        """The policy that refused."""


class AuthRefused(CallRefused):
    """The virtual key is missing, unknown, expired or revoked."""


class BudgetExceeded(CallRefused):
    """The call might cost more than a hard budget has left."""


class RateLimited(CallRefused):
    """Too many requests or tokens for now."""

    def __init__(self, message: str, *, policy: str, retry_after_s: float, call_id: str = "", **details: Any) -> None:
        super().__init__(message, policy=policy, call_id=call_id, retry_after_s=retry_after_s, **details)
        self.retry_after_s = retry_after_s
        """Seconds until another try can pass."""


class ResidencyRefused(CallRefused):
    """No deployment of the model stands in a region that this caller may use."""


class ContentRefused(CallRefused):
    """The content of the request or of the answer is not allowed."""


class CapabilityRefused(CallRefused):
    """No deployment of the model can do what the request needs, such as tools or images."""


class NothingToReplay(CallRefused):
    """The call may only be answered from the ledger, and the ledger has no answer to give it."""


class ProviderError(AiplatError):
    """The model's side failed: wrong key there, too many requests, an outage, a broken answer."""

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        model: str = "",
        status: int | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        call_id: str = "",
        reason: str = "provider_error",
        **details: Any,
    ) -> None:
        super().__init__(
            redact(message),
            call_id=call_id,
            provider=provider,
            model=model,
            status=status,
            retryable=retryable,
            retry_after_s=retry_after_s,
            reason=reason,
            **details,
        )
        self.provider = provider
        self.model = model
        self.status = status
        """The provider's HTTP status, or None where none came."""
        self.retryable = retryable
        """Whether the same request may succeed later."""
        self.retry_after_s = retry_after_s
        """What the provider asked to wait, in seconds, or None."""
        self.reason = reason
        """A word for the ledger: `auth`, `rate_limited`, `unavailable`, `timeout`, `cut_off`, `bad_reply`,
        `bad_request`, `context_length`, or `provider_error`."""


class CallCancelled(AiplatError):
    """The caller went away or interrupted; what had come until then is in the ledger."""


class CallLost(AiplatError):
    """The gateway stopped while this call was under way, and nobody knows what the provider did.

    The same `call_id` is not sent again: a client that wants the answer asks under a new one, with this one as
    `parent_id`.
    """


class GatewayUnavailable(AiplatError):
    """The local gateway cannot be reached or started."""


class LedgerError(AiplatError):
    """The ledger cannot do what was asked: a disk that is full, a damaged file, a file that is there already."""


class QueryError(LedgerError):
    """The question to the ledger is wrong: a statement that is not read-only or not SQL, an unknown view or filter."""


class RecordExists(LedgerError):
    """A record of that kind and id is there already, and it was to be the first: somebody else was quicker."""


class PromptError(AiplatError):
    """A prompt cannot be rendered: an undefined variable, a template with a mistake."""


class EvalError(AiplatError):
    """An evaluation cannot run."""


class ReportError(AiplatError):
    """A report could not be made; no file that looks finished was left."""


def _classes(root: type[AiplatError]) -> dict[str, type[AiplatError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_classes(child))
    return found


def from_wire(data: Mapping[str, Any]) -> AiplatError:
    """The error that `AiplatError.to_wire` wrote, as the same type; an unknown type becomes an `AiplatError`."""
    kind = _classes(AiplatError).get(str(data.get("type")), AiplatError)
    rest = {key: value for key, value in data.items() if key not in {"type", "message"}}
    if issubclass(kind, CallRefused):
        rest.setdefault("policy", "")
    if issubclass(kind, RateLimited):
        rest.setdefault("retry_after_s", 0.0)
    if issubclass(kind, ProviderError):
        rest.setdefault("provider", "")
    return kind(str(data.get("message", "unknown error")), **rest)
