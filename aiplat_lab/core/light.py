"""What libraries load though nobody here needs it."""

from __future__ import annotations

import sys

LEAVE_OUT_GRAMMARS = "import sys; sys.modules.setdefault('rfc3987_syntax', None)"
"""The statement behind `leave_out_grammars`, for a kernel that is started."""


def leave_out_grammars() -> None:
    """Keeps `jsonschema` from building the grammars of RFC 3987 when it is first imported: two seconds of processor time.

    They serve the format `iri` alone, which no notebook and no chart has. For processes of our own, which import nothing of a user's.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # None there is how Python says that it cannot be imported
