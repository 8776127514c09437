"""A policy of one's own: a question may have so many words, and each call is tagged with how many it has."""

from dataclasses import replace

from aiplat_lab.core.errors import ContentRefused
from aiplat_lab.core.registry import register

MOST = 1000


@register("policy", "words-limit")
class WordLimit:
    """Refuses questions of more than `MOST` words."""

    name = "words-limit"

    def __init__(self, settings, ledger, *, clock):
        self.refused = 0

    async def before(self, call):
        count = sum(len(message.text().split()) for message in call.request.messages)
        if count > MOST:
            self.refused += 1
            raise ContentRefused(f"the question has {count} words; it may have {MOST}. Shorten it.", policy=self.name)
        who = call.request.attribution
        who = replace(who, tags={**who.tags, "words": str(count)})
        call.request = replace(call.request, attribution=who)

    async def after(self, call):
        call.notes["words-refused"] = str(self.refused)
