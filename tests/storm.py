"""Calls without pause while the gateway is killed again and again, and what is left in the ledger."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from served import Served

from aiplat_lab.client import Client, connect
from aiplat_lab.core.errors import AiplatError, CallLost, GatewayUnavailable
from aiplat_lab.core.ids import new_id
from aiplat_lab.gateway.process import read_address


@dataclass
class Storm:
    """What happened."""

    kills: int = 0
    acknowledged: dict[str, str] = field(default_factory=dict)
    """The call id of each answer that a caller holds, by the caller's own name for the call."""
    reported: dict[str, AiplatError] = field(default_factory=dict)
    broken_chains: list[str] = field(default_factory=list)
    restart_s: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    """Errors that are no report of a gateway that went away."""
    statuses: Counter[str] = field(default_factory=Counter)


def _call(client: Client, name: str, *, stream: bool, storm: Storm) -> None:
    who = {"cell_id": name}
    try:
        if stream:
            with client.stream(name, model="up/echo", cache="off", attribution=who) as pieces:
                text = "".join(pieces)
            assert pieces.response is not None
            call_id = pieces.response.call_id
        else:
            answer = client.chat(name, model="up/echo", cache="off", attribution=who)
            text, call_id = answer.text, answer.call_id
        assert text == name
        storm.acknowledged[name] = call_id
    except AiplatError as error:
        storm.reported[name] = error


def run(place: Served, *, kills: int, callers: int = 8, seed: int = 1) -> Storm:
    """Kills the gateway `kills` times under `callers` callers, and compares what they were told with the ledger."""
    storm, over, chance = Storm(), threading.Event(), random.Random(seed)

    def caller(number: int) -> None:
        with connect(place.home) as client:
            count = 0
            while not over.is_set():
                _call(client, f"{number} {count} {new_id()}", stream=count % 3 == 2, storm=storm)
                count += 1

    place.client.status()
    threads = [threading.Thread(target=caller, args=(number,), daemon=True) for number in range(callers)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            answered, patience = len(storm.acknowledged), time.monotonic() + 10
            while len(storm.acknowledged) < answered + callers and time.monotonic() < patience:
                time.sleep(0.005)  # a gateway that answers nobody has nothing to lose
            time.sleep(chance.uniform(0.02, 0.25))
            address = read_address(place.home)
            if address is None:
                continue
            os.kill(address.pid, signal.SIGKILL)
            begun = time.monotonic()
            storm.kills += 1
            found = place.client.verify()
            storm.restart_s.append(time.monotonic() - begun)
            if not found["ok"]:
                storm.broken_chains.append(str(found))
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    _compare(place, storm)
    return storm


def _compare(place: Served, storm: Storm) -> None:
    sql = "SELECT call_id, cell_id, status, error_type FROM calls WHERE cell_id IS NOT NULL"
    rows: list[dict[str, Any]] = place.client.post("/api/query", {"sql": sql})["rows"]
    good = Counter(row["cell_id"] for row in rows if row["status"] == "ok")
    ids = Counter(row["call_id"] for row in rows)
    by_id = {row["call_id"]: row for row in rows}
    storm.statuses.update(row["error_type"] or row["status"] for row in rows)
    for name, call_id in storm.acknowledged.items():
        if by_id.get(call_id, {}).get("status") != "ok" or by_id[call_id]["cell_id"] != name:
            storm.lost.append(name)
    storm.doubled = [name for name, count in good.items() if count > 1] + [call_id for call_id, count in ids.items() if count > 1]
    storm.unexplained = [
        f"{name}: {error!r}" for name, error in storm.reported.items() if not isinstance(error, GatewayUnavailable | CallLost)
    ]
