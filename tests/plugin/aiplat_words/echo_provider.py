"""A provider of one's own: it says back what it is told, word by word, and counts the words."""

from contextlib import asynccontextmanager

from aiplat_lab.core.registry import register
from aiplat_lab.core.types import Chunk, Response, Usage


@register("provider", "words-echo")
class Echo:
    """Says back the last message."""

    wire = ""
    lacks = frozenset({"tools", "json_schema", "images", "audio", "logprobs", "n", "seed"})

    def __init__(self, name, settings):
        self.name = name

    async def chat(self, request, deployment):
        words = request.messages[-1].text().split()
        usage = Usage(input_tokens=len(words), output_tokens=len(words))
        return Response(text=" ".join(words), finish_reason="stop", usage=usage, response_model=deployment.model)

    @asynccontextmanager
    async def stream(self, request, deployment):
        async def pieces():
            whole = await self.chat(request, deployment)
            for word in whole.text.split():
                yield Chunk(text=word + " ")
            yield Chunk(finish_reason="stop", usage=whole.usage)

        yield pieces()

    async def embed(self, request, deployment):
        vectors = tuple((float(len(text.split())),) for text in request.inputs)
        return Response(embeddings=vectors, finish_reason="stop", usage=Usage(input_tokens=len(vectors)))

    async def aclose(self):
        pass
