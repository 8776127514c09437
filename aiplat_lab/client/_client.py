"""The one way in: asks models, reads the ledger, and manages the gateway, for whatever runs in Python."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiplat_lab.client import _async
from aiplat_lab.client._async import AsyncStream
from aiplat_lab.client._dry import DryRun, currency_of
from aiplat_lab.client._reading import GatewayReader, Reader, SnapshotReader
from aiplat_lab.client._sending import HEADERS, PATH, Sending, checked, error_of
from aiplat_lab.client._stream import Stream
from aiplat_lab.client._wire import Pool, Target
from aiplat_lab.core.errors import GatewayUnavailable, UsageError, did_you_mean
from aiplat_lab.core.settings import Environment, Home, Secret, environment
from aiplat_lab.core.types import Attribution, CacheMode, Json, Message, Request, Response
from aiplat_lab.gateway.process import held, stopped, terminate
from aiplat_lab.gateway.reading import plain

if TYPE_CHECKING:
    import polars

Prompt = str | Sequence[Mapping[str, Json]] | Request
"""A question, a conversation in the shape of OpenAI's chat wire, or a whole request."""
Who = Attribution | Mapping[str, Any] | None


class Client:
    """A client of the home's own gateway, of a shared gateway, or of a sealed snapshot. Made by `connect`."""

    def __init__(self, target: Target, *, who: Attribution, snapshot: Path | None = None) -> None:
        self._pool = Pool(target)
        self._gateway = GatewayReader(self._pool)
        self._who = who
        self._snapshot = snapshot
        self._sealed: SnapshotReader | None = None

    @property
    def home(self) -> Home:
        """The home whose own gateway this asks, or in which copies are kept where it asks a shared one."""
        return self._pool.target.home

    @property
    def url(self) -> str:
        """The shared gateway's address; empty for the home's own."""
        return self._pool.target.url

    @property
    def who(self) -> Attribution:
        """Who asks, as far as the environment says."""
        return self._who

    @property
    def sealed(self) -> bool:
        """Whether it reads a sealed snapshot and no gateway."""
        return self._snapshot is not None

    # --- asking models ----------------------------------------------------------------------------------------------

    def chat(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        cache: CacheMode = "auto",
        timeout_s: float | None = None,
        attribution: Who = None,
        **settings: Json,
    ) -> Response:
        """The answer of a model.

        Args:
            prompt: a question, messages, or a whole request, whose own fields then count.
            model: the name of a model; None takes the default model.
            cache: whether the same question may be answered from the ledger.
            timeout_s: seconds for the whole call.
            attribution: who asks and where; empty fields are filled from the environment.
            settings: under OpenAI's names: `temperature`, `max_tokens`, …

        Raises:
            CallRefused: a rule said no; nothing was spent.
            ProviderError: the model's side failed.
            ConfigError: there is no such model, or the settings are wrong.
            GatewayUnavailable: the gateway cannot be reached or started.
        """
        return self._send(self._request(prompt, model, cache, timeout_s, attribution, settings))

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        cache: CacheMode = "auto",
        timeout_s: float | None = None,
        attribution: Who = None,
        **settings: Json,
    ) -> Stream:
        """The answer in pieces, as `chat` otherwise: `with client.stream(…) as pieces: for text in pieces: …`."""
        self._need_gateway()
        return Stream(self._pool, replace(self._request(prompt, model, cache, timeout_s, attribution, settings), stream=True))

    async def achat(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        cache: CacheMode = "auto",
        timeout_s: float | None = None,
        attribution: Who = None,
        **settings: Json,
    ) -> Response:
        """As `chat`; cancelling the task cancels the call at the provider."""
        self._need_gateway()
        return await _async.chat(self._pool.target, self._request(prompt, model, cache, timeout_s, attribution, settings))

    def astream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        cache: CacheMode = "auto",
        timeout_s: float | None = None,
        attribution: Who = None,
        **settings: Json,
    ) -> AsyncStream:
        """As `stream`: `async with client.astream(…) as pieces: async for text in pieces: …`."""
        self._need_gateway()
        return AsyncStream(self._pool.target, replace(self._request(prompt, model, cache, timeout_s, attribution, settings), stream=True))

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str = "minilm",
        cache: CacheMode = "auto",
        timeout_s: float | None = None,
        attribution: Who = None,
        **settings: Json,
    ) -> Response:
        """One vector for each text, in `embeddings`; errors as by `chat`."""
        inputs = (texts,) if isinstance(texts, str) else tuple(texts)
        request = Request(
            model=model,
            operation="embed",
            inputs=inputs,
            settings=settings,
            cache=cache,
            timeout_s=timeout_s,
            attribution=self._of(attribution),
        )
        return self._send(request)

    # --- before asking ----------------------------------------------------------------------------------------------

    def plan(self, requests: Sequence[Request], *, max_usd: Decimal | None = None) -> list[dict[str, Any]]:
        """What would become of each request: `state`, tokens, price from `low_usd` to `high_usd`, what every policy says.

        Nothing is sent to a model, held or recorded.

        Args:
            requests: the requests.
            max_usd: gives in `tokens_within` how long an answer may be for its call to cost no more than this.
        """
        asked = [replace(one, attribution=_filled(one.attribution, self._who)).to_json() for one in requests]
        limit = {} if max_usd is None else {"max_usd": f"{max_usd:f}"}
        self._need_gateway()
        found: list[dict[str, Any]] = self._gateway.ask("POST", "/api/plan", {"requests": plain(asked), **limit})["plans"]
        return found

    def dry_run(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        cache: CacheMode = "auto",
        timeout_s: float | None = None,
        attribution: Who = None,
        **settings: Json,
    ) -> DryRun:
        """What would become of a call, asked as by `chat`: the exact request, tokens, price, and each policy's verdict. Nothing is sent."""
        request = self._request(prompt, model, cache, timeout_s, attribution, settings)
        [found] = self.plan([request])
        currency, rate = currency_of(self.status())
        return DryRun(found, currency, rate)

    # --- what was answered before -----------------------------------------------------------------------------------

    def replay_look(self, questions: Sequence[Mapping[str, Any]], *, notebook: str = "") -> dict[str, Any]:  # Any: JSON
        """Of each question (`question`, its hash, `model`, `team`) whether its answer would be given again: `rows`, `default_model`."""
        return self._ask_replay("look", {"questions": [dict(one) for one in questions], "notebook": notebook})

    def replay_export(self, call_ids: Sequence[str] = (), *, notebook: str = "") -> dict[str, Any]:
        """What a bundle holds of these calls and of all calls of a notebook: `answers`, `default_model`."""
        return self._ask_replay("export", {"call_ids": list(call_ids), "notebook": notebook})

    def replay_import(self, answers: Sequence[Mapping[str, Any]], *, source: str) -> dict[str, int]:  # Any: JSON
        """Takes in the answers of a bundle; gives how many were `taken`, `known` already, and `erased` here before."""
        return self._ask_replay("import", {"answers": [dict(one) for one in answers], "source": source})

    def replay_clear(self, *, notebook: str = "") -> dict[str, Any]:
        """Gives no answer again that is known now, to this notebook or to all."""
        return self._ask_replay("clear", {"notebook": notebook})

    def _ask_replay(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
        self._need_gateway()
        found: dict[str, Any] = self._gateway.ask("POST", f"/api/replay/{what}", plain({**body, "attribution": self._who.to_json()}))
        return found

    # --- reading the ledger -----------------------------------------------------------------------------------------

    def sql(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> polars.DataFrame:
        """The rows of one read-only SQL statement over the ledger.

        Raises:
            LedgerError: the statement is not read-only, or wrong.
        """
        import polars  # heavy, and needed for frames alone

        return polars.read_ipc_stream(self._reader.query(query, params))

    def view(self, name: str, **filters: Any) -> polars.DataFrame:
        """The rows of a named view.

        Args:
            name: such as `totals`, `spend_by_day`, `recent_calls`.
            filters: `since` and `until` (`7d`, `today`, a date, a time), `team`, `project`, `model`, `limit`, …

        Raises:
            LedgerError: there is no such view or filter.
        """
        import polars  # as in `sql`

        return polars.read_ipc_stream(self._reader.view(name, _given(filters)))

    def view_rows(self, name: str, **filters: Any) -> list[dict[str, Any]]:
        """The rows of a named view as JSON holds them, money and times as text; loads no frame library."""
        return self._reader.rows(name, _given(filters))

    def call(self, call_id: str) -> dict[str, Any]:
        """One call: every column of its row, and `messages`, `inputs`, `settings`, `text`, `tool_calls`, `body` as far as kept.

        Raises:
            LedgerError: there is no such call.
        """
        return self._reader.call(quote(call_id, safe=""))

    def verify(self) -> dict[str, Any]:
        """Checks the hash chain: `ok`, `rows`, `first_bad_seq`, `reason`."""
        return self._reader.verify()

    # --- the gateway ------------------------------------------------------------------------------------------------

    def record(self, kind: str, row: Mapping[str, Any], *, first: bool = False) -> dict[str, Any]:
        """Appends a record to the ledger; gives its `seq` and `hash`.

        A record that has an `id` may be sent twice where the gateway goes away meanwhile; what reads it folds by the id.

        Args:
            kind: one of the kinds in `ledger/kinds`.
            row: its fields, and its `id`.
            first: whether it is refused where a record of that kind and id is there already.

        Raises:
            UsageError: the row is not of that kind.
            RecordExists: with `first`, there is one.
            LedgerError: it cannot be written.
            GatewayUnavailable: the gateway went away; whether the record was written is then not known.
        """
        return self._append({"kind": kind, "row": dict(row), "first": first}, again=bool(row.get("id")) and not first)

    def record_all(self, kind: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Appends many records of one kind in one go, in their order; as `record` otherwise."""
        return self._append({"kind": kind, "rows": [dict(row) for row in rows]}, again=all(row.get("id") for row in rows))

    def _append(self, body: Mapping[str, Any], *, again: bool) -> dict[str, Any]:
        self._need_gateway()
        receipt: dict[str, Any] = self._gateway.ask("POST", "/api/records", plain(body), again=again)
        return receipt

    def status(self) -> dict[str, Any]:
        """The gateway's state: `version`, `pid`, `http`, `in_flight`, `spend_today_usd`, `budgets`, `incidents`, …"""
        return self.get("/api/status")

    def models(self) -> list[dict[str, Any]]:
        """Every name that can be asked, with `deployments`, `region` and `available`."""
        rows: list[dict[str, Any]] = self.get("/api/models")["rows"]
        return rows

    def cancel(self, call_id: str) -> bool:
        """Cancels a call in flight; false when there is no such call."""
        return bool(self.post(f"/api/calls/{quote(call_id, safe='')}/cancel", {})["cancelled"])

    # --- batches ----------------------------------------------------------------------------------------------------

    def submit_batch(self, requests: Sequence[Request]) -> list[dict[str, Any]]:
        """Hands calls that can wait to their provider's batch API, at its lower price; gives the batches, one a deployment.

        Each answer is a call like any other under the request's `call_id`, within a day: `call(id)` reads it, and asking the same
        request again gives it. A request that waits already, or was answered before, is not handed in again.

        Raises:
            CallRefused: every call was refused.
            CapabilityRefused: the model's provider has no batch API.
            ProviderError: the provider did not take the batch.
        """
        asked = [replace(one, attribution=_filled(one.attribution, self._who)).to_json() for one in requests]
        found: list[dict[str, Any]] = self.post("/api/batches", {"requests": plain(asked)})["batches"]
        return found

    def batches(self) -> list[dict[str, Any]]:
        """Every batch with its last state, the newest first."""
        rows: list[dict[str, Any]] = self.get("/api/batches")["rows"]
        return rows

    def batch(self, batch_id: str) -> dict[str, Any]:
        """One batch: its state, `outcome` by status with tokens and cost, and its calls in `call_list`."""
        return self.get(f"/api/batches/{quote(batch_id, safe='')}")

    def cancel_batch(self, batch_id: str) -> dict[str, Any]:
        """Asks the provider to stop a batch; what was answered until then stays answered and paid."""
        return self.post(f"/api/batches/{quote(batch_id, safe='')}/cancel")

    def get(self, path: str) -> dict[str, Any]:
        """The JSON of a route of the gateway."""
        self._need_gateway()
        found: dict[str, Any] = self._gateway.ask("GET", path)
        return found

    def post(self, path: str, json: Any = None) -> dict[str, Any]:  # Any: JSON
        """The JSON that a route of the gateway answers; sent once, never again by itself."""
        self._need_gateway()
        found: dict[str, Any] = self._gateway.ask("POST", path, {} if json is None else json, again=False)
        return found

    def stop(self) -> None:
        """Stops the home's own gateway and waits until it is gone; starts none.

        Raises:
            GatewayUnavailable: none runs, or it does not end.
        """
        target = replace(self._pool.target, spawn=False)
        home = target.home
        pool = Pool(target)
        self.close()
        try:
            GatewayReader(pool).ask("POST", "/api/stop", {}, again=False)
        except GatewayUnavailable:
            if target.url or not held(home) or not (stopped(home) or terminate(home)):
                raise  # none runs, or it does not end; one that was just starting or stopping is gone now
        finally:
            pool.close()
        if not target.url and not stopped(home) and not terminate(home):
            raise GatewayUnavailable(f"the gateway of {home.path} does not end; see {home.log_file}")

    def close(self) -> None:
        """Closes the connections; the client can be used again."""
        self._pool.close()
        if self._sealed is not None:
            self._sealed.close()
            self._sealed = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- parts ------------------------------------------------------------------------------------------------------

    @property
    def _reader(self) -> Reader:
        if self._snapshot is None:
            return self._gateway
        if self._sealed is None:
            self._sealed = SnapshotReader(self._snapshot, self._pool.target.home)
        return self._sealed

    def _need_gateway(self) -> None:
        if self._snapshot is not None:
            raise UsageError(f"this client reads the snapshot {self._snapshot}; use connect() without one to reach the gateway")

    def _send(self, request: Request) -> Response:
        self._need_gateway()
        sending = Sending(request, self._pool.target)
        while True:
            connection = self._pool.take(fresh=sending.sent > 0)
            try:
                reply = connection.ask("POST", PATH, HEADERS, sending.body())
            except OSError as error:
                time.sleep(sending.broke(error))
                continue
            finally:
                self._pool.give(connection)  # closed when the answer is not whole, which cancels the call
            if reply.status == 200:
                return Response.from_json(checked(reply))
            sending.failed(error_of(reply))

    def _request(
        self, prompt: Prompt, model: str | None, cache: CacheMode, timeout_s: float | None, attribution: Who, settings: Mapping[str, Json]
    ) -> Request:
        if isinstance(prompt, Request):
            if attribution is not None:
                prompt = replace(prompt, attribution=self._of(attribution))
            return replace(prompt, attribution=_filled(prompt.attribution, self._who))
        messages = ({"role": "user", "content": prompt},) if isinstance(prompt, str) else prompt
        try:
            parsed = tuple(Message.from_json(message) for message in messages)
        except (KeyError, TypeError, AttributeError):
            raise UsageError('the prompt must be a text, or messages such as {"role": "user", "content": "…"}') from None
        return Request(
            model=model or "", messages=parsed, settings=settings, cache=cache, timeout_s=timeout_s, attribution=self._of(attribution)
        )

    def _of(self, who: Who) -> Attribution:
        """The attribution of a call: what was given, and the environment's where nothing was."""
        if who is None:
            return self._who
        if isinstance(who, Attribution):
            return _filled(who, self._who)
        known = [f.name for f in fields(Attribution)]
        if not isinstance(who, Mapping):
            raise UsageError(f'the attribution must be a dict such as {{"team": "risk"}}, not {str(who)[:40]!r}')
        for name in who:
            if name not in known:
                raise UsageError(f"an attribution has no {name!r}.{did_you_mean(str(name), known)} It holds {', '.join(known)}.")
        return _filled(Attribution.from_json(dict(who)), self._who)


def _filled(given: Attribution, known: Attribution) -> Attribution:
    missing = {f.name: getattr(known, f.name) for f in fields(Attribution) if not getattr(given, f.name) and getattr(known, f.name)}
    return replace(given, **missing) if missing else given


def _given(filters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if value is not None}


def connect(
    home: Home | Path | str | None = None,
    *,
    url: str | None = None,
    key: str | None = None,
    snapshot: Path | str | None = None,
    spawn: bool = True,
) -> Client:
    """A client; it contacts nobody until it is used.

    Args:
        home: the folder with settings and ledger; None takes `AIPLAT_GATEWAY`, if set, or else `AIPLAT_HOME`.
        url: a shared gateway's address before `/v1`.
        key: the virtual key for it; None takes `AIPLAT_KEY`.
        snapshot: a sealed snapshot to read instead of a gateway.
        spawn: whether the home's own gateway is started when none runs.
    """
    known: Environment = environment()
    if home is None and url is None:
        url = known.gateway
    own = known.home if home is None else home if isinstance(home, Home) else Home(Path(home).expanduser().absolute())
    secret = known.key if key is None else Secret(key)
    target = Target(home=own, url=(url or "").rstrip("/"), key=secret, spawn=spawn)
    return Client(target, who=known.attribution, snapshot=Path(snapshot) if snapshot is not None else None)
