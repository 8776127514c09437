"""Which version of a prompt a call uses: what a caller names by a label stands in the ledger as the version it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiplat_lab.core.errors import CallRefused, PromptError, RecordExists
from aiplat_lab.core.prompts import Reference, Shelf, check_label, check_name, is_content, is_version
from aiplat_lab.core.registry import register
from aiplat_lab.core.settings import Settings
from aiplat_lab.core.types import Call, Clock, Request, utc_now
from aiplat_lab.ledger import Ledger


@register("policy", "prompt")
class Prompts:
    """Resolves `name@label` to `name@version` for every call, and keeps versions and labels in order when they are recorded.

    A prompt that was never saved here passes with whatever version its caller says; of one that was, a version or label that is
    not there is refused. What is saved or moved through this gateway counts from the next call on.
    """

    name = "prompt"

    def __init__(self, settings: Settings, ledger: Ledger, *, clock: Clock = utc_now) -> None:
        shelf = Shelf()
        for row in ledger.view_rows("prompt_catalogue", {}):
            shelf = shelf.with_version(str(row["name"]), str(row["version"]), str(row["content_hash"]))
        for row in ledger.view_rows("prompt_labels_now", {}):
            shelf = shelf.with_label(str(row["name"]), str(row["label"]), str(row["version"]))
        self.shelf = shelf
        """Every prompt as it stands now; replaced whole, so that whoever holds it sees one state."""
        ledger.watch(self.guards, self._recorded)

    def named(self, request: Request) -> Request:
        """The request with the version that its prompt's label means now; as it is where there is nothing to resolve.

        The pipeline asks when a call begins, so that its row has the version however the call ends.
        """
        who = request.attribution
        entry = self.shelf.entries.get(who.prompt_name) if who.prompt_name else None
        version = entry.find(who.prompt_version) if entry else None
        if entry is None or version is None or version == who.prompt_version or version not in entry.versions:
            return request
        return replace(request, attribution=replace(who, prompt_version=version))

    async def before(self, call: Call) -> None:
        """Raises `CallRefused` where a saved prompt does not have the version."""
        call.request = self.named(call.request)
        name, version = call.request.attribution.prompt_name, call.request.attribution.prompt_version
        if name not in self.shelf.entries or is_content(version):  # content that was not saved is a draft
            return
        try:
            self.shelf.resolve(Reference(name, version))
        except PromptError as error:
            raise CallRefused(error.message, policy=self.name) from None

    async def after(self, call: Call) -> None:
        """Nothing is left to do."""

    # --- records ----------------------------------------------------------------------------------------------------

    guards = ("prompt_version", "prompt_label")
    """The kinds of records that `admit` judges."""

    def admit(self, kind: str, row: Mapping[str, Any]) -> None:  # Any: JSON
        """Lets a record pass that fits what stands now.

        Raises:
            RecordExists: somebody else was quicker: another version or another place of the label stands now.
            PromptError: a name, a version or a label is none, or a label points to nothing.
        """
        name = check_name(str(row["name"]))
        version = str(row["version"])
        if not is_version(version):
            raise PromptError(f"{version[:60]!r} is not a version; a version is three numbers, such as 1.2.0")
        entry = self.shelf.entries.get(name)
        if kind == "prompt_version":
            if str(row["id"]) != f"{name}@{version}":
                raise PromptError(f"the id of a prompt_version is name@version, so {name}@{version}, not {str(row['id'])[:80]!r}")
            known = entry.versions.get(version, "") if entry else ""
            latest = entry.latest if entry else ""
            if (known and known != row["content_hash"]) or row.get("parent", latest) != latest:
                raise RecordExists(f"{name}@{latest} stands now: somebody else was quicker", version=latest)
            return
        label = check_label(str(row["label"]))
        self.shelf.resolve(Reference(name, version))
        now = entry.labels.get(label, "") if entry else ""
        if row.get("from_version", now) != now:
            raise RecordExists(f"the label {label!r} of {name} points to {now or 'nothing'} now: somebody else was quicker", version=now)

    def _recorded(self, kind: str, row: Mapping[str, Any]) -> None:  # Any: JSON
        name, version = str(row["name"]), str(row["version"])
        if kind == "prompt_version":
            self.shelf = self.shelf.with_version(name, version, str(row["content_hash"]))
        else:
            self.shelf = self.shelf.with_label(name, str(row["label"]), version)
