"""AWS's Signature Version 4: the headers that prove who sends a request, by `hmac` and `hashlib` alone."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(NamedTuple):
    """An access key; short-lived ones come with a session token."""

    access_key: str
    secret_key: str
    token: str = ""


def credentials(text: str) -> Credentials | None:
    """The credentials in a text: `AKID:SECRET`, `AKID:SECRET:TOKEN`, or the JSON that AWS's own tools print; None for another text."""
    if text.startswith("{"):
        try:
            data: Any = json.loads(text)  # Any: JSON from outside, narrowed here
        except ValueError:
            return None
        data = data.get("Credentials") or data
        named = {name.replace("_", "").lower(): str(value) for name, value in data.items() if isinstance(value, str)}
        found = (named.get("accesskeyid") or named.get("awsaccesskeyid"), named.get("secretaccesskey") or named.get("awssecretaccesskey"))
        return Credentials(found[0], found[1], named.get("sessiontoken") or named.get("awssessiontoken") or "") if all(found) else None  # type: ignore[arg-type]
    parts = text.split(":", 2)
    if len(parts) < 2 or not all(parts[:2]):
        return None
    return Credentials(*parts)


def signed(
    who: Credentials,
    method: str,
    path: str,
    *,
    query: str = "",
    headers: Mapping[str, str],
    content: bytes,
    region: str,
    service: str,
    at: datetime,
) -> dict[str, str]:
    """The headers to add to a request.

    Args:
        who: whose request it is.
        method: `GET`, `POST`, …
        path: the path as it is sent, percent-encoded.
        query: the query as it is sent, without the question mark.
        headers: the headers to sign, `Host` among them; all of them must be sent as they are.
        content: the body.
        region: the cloud's name of the place.
        service: the service's name for signing.
        at: when it is sent; aware, in UTC.
    """
    moment = at.strftime("%Y%m%dT%H%M%SZ")
    added = {"X-Amz-Date": moment} | ({"X-Amz-Security-Token": who.token} if who.token else {})
    lines = sorted((name.lower(), " ".join(value.split())) for name, value in {**headers, **added}.items())
    names = ";".join(name for name, _ in lines)
    canonical = "\n".join(
        [
            method,
            quote(path or "/", safe="/-_.~"),
            _query(query),
            *(f"{name}:{value}" for name, value in lines),
            "",
            names,
            hashlib.sha256(content).hexdigest(),
        ]
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{who.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    told = f"{ALGORITHM} Credential={who.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**added, "Authorization": told}


def _query(query: str) -> str:
    """The parameters in the order of their encoded names and values."""
    pairs = [part.partition("=") for part in query.split("&") if part]
    return "&".join("=".join(pair) for pair in sorted((_encoded(name), _encoded(value)) for name, _, value in pairs))


def _encoded(text: str) -> str:
    return quote(unquote(text), safe="-_.~")
