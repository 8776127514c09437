"""The reply object that `-o NAME` keeps: a text that knows what it cost and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aiplat_lab.core.errors import ProviderError, shorten
from aiplat_lab.core.types import Json, Request, Response, Usage
from aiplat_lab.magic._formats import parse_json

if TYPE_CHECKING:
    import polars


class Reply(str):
    """The text of an answer, with its request, usage, cost and call id."""

    _bundle: Mapping[str, Any]  # Any: MIME data
    request: Request
    """What was asked."""
    response: Response
    """What came back; its `text` is the answer before its form was applied."""
    parsed: Any  # Any: an instance of the user's model
    """The value that fits the cell's `--schema`: an instance of the pydantic model, or JSON; None without one."""

    def __new__(
        cls,
        text: str,
        *,
        request: Request,
        response: Response,
        bundle: Mapping[str, Any],  # Any: MIME data
        parsed: Any = None,  # Any: as above
    ) -> Reply:
        reply = super().__new__(cls, text)
        reply.request = request
        reply.response = response
        reply._bundle = bundle
        reply.parsed = parsed
        return reply

    @property
    def text(self) -> str:
        """The text, as a plain `str`."""
        return str.__str__(self)

    @property
    def json(self) -> Json:
        """The JSON value in the text, be it bare, fenced or after a sentence.

        Raises:
            ProviderError: there is none.
        """
        found = parse_json(self.text)
        if found is None:
            raise not_json(self.response, self.text)
        return found.value

    @property
    def df(self) -> polars.DataFrame:
        """The JSON in the text as a data frame: a list of objects, an object of columns, or one object as one row.

        Raises:
            ProviderError: the text holds no JSON, or no table.
        """
        import polars  # loaded when a frame is wanted, never with the magic

        value = self.json
        rows = [value] if isinstance(value, dict) and not any(isinstance(item, list) for item in value.values()) else value
        try:
            return polars.DataFrame(rows)
        except (TypeError, ValueError, polars.exceptions.PolarsError) as error:
            raise ProviderError(
                f"the answer's JSON is no table: {shorten(str(error), 200)}. Ask for a list of objects with the same keys.",
                provider=self.response.provider,
                call_id=self.call_id,
                reason="bad_reply",
            ) from None

    @property
    def usage(self) -> Usage | None:
        """Tokens as the provider counted them; None when it counted nothing."""
        return self.response.usage

    @property
    def cost(self) -> Decimal | None:
        """US dollars; None when the price is unknown."""
        return self.response.cost_usd

    @property
    def call_id(self) -> str:
        """The call in the ledger."""
        return self.response.call_id

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (self.text, self.request, self.response, dict(self._bundle), self.parsed)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Mapping[str, Any]:  # Any: as IPython calls it
        return self._bundle


def _again(text: str, request: Request, response: Response, bundle: Mapping[str, Any], parsed: Any = None) -> Reply:  # Any: as above
    return Reply(text, request=request, response=response, bundle=bundle, parsed=parsed)


def not_json(response: Response, text: str) -> ProviderError:
    """The error of an answer that should be JSON and is not."""
    return ProviderError(
        f"the model answered, but not with JSON: it begins {shorten(text, 80)!r}. The answer is kept (`_ai`, and -o). "
        'Ask more plainly, show an example, or set -m {"response_format": {"type": "json_object"}} where the provider knows it.',
        provider=response.provider,
        model=response.response_model,
        call_id=response.call_id,
        reason="bad_reply",
    )
