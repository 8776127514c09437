"""One gateway process for each home: started once, found by all, gone when it should be."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from faults import FaultServer
from served import Served, served, stop, wait_for, write_settings

from aiplat_lab.client import connect
from aiplat_lab.core.errors import AiplatError, ConfigError, GatewayUnavailable
from aiplat_lab.core.settings import Home
from aiplat_lab.gateway.process import Address, Lock, held, read_address, running, write_address

ONE_CLIENT = """
import sys, time
from aiplat_lab.client import connect
sys.stdin.readline()
begun = time.monotonic()
status = connect(sys.argv[1]).status()
print(status["pid"], time.monotonic() - begun)
"""


@pytest.fixture
def place(tmp_path: Path) -> Any:
    with served(tmp_path / "home") as found:
        yield found


def kill(home: Home) -> int:
    address = read_address(home)
    assert address is not None
    os.kill(address.pid, signal.SIGKILL)
    assert wait_for(lambda: not held(home), 10)
    return address.pid


def by_hand(home: Home, **more: Any) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "aiplat_lab.gateway", "--home", str(home.path)]
    return subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def test_twenty_clients_at_once_start_exactly_one(tmp_path: Path):
    home = Home(tmp_path / "home").create()
    try:
        words = [sys.executable, "-c", ONE_CLIENT, str(home.path)]
        clients = [subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(20)]
        for client in clients:
            assert client.stdin is not None
            client.stdin.write("go\n")
            client.stdin.flush()
        said = [client.communicate(timeout=60)[0].split() for client in clients]
        assert all(client.returncode == 0 for client in clients)
        assert len({pid for pid, _ in said}) == 1
        assert home.log_file.read_text().count("ready at") == 1
    finally:
        stop(home)


def test_a_second_gateway_by_hand_says_that_one_runs(place: Served):
    pid = place.client.status()["pid"]
    second = by_hand(place.home)
    _, said = second.communicate(timeout=30)
    assert second.returncode == 1
    assert "already runs" in said and str(pid) in said and "Traceback" not in said
    assert place.client.status()["pid"] == pid


def test_one_started_by_hand_is_found_and_ends_on_a_signal(place: Served):
    first = by_hand(place.home)
    try:
        assert wait_for(lambda: running(place.home), 30)
        assert place.client.status()["pid"] == first.pid
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=30)
        assert first.returncode == 0
        assert not place.home.gateway_file.exists() and not held(place.home)
    finally:
        first.kill()


def test_looking_whether_one_runs_keeps_none_from_starting(place: Served):
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            held(place.home)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(2):
            assert place.client.chat("hello").text == "hello"
            kill(place.home)
    finally:
        over.set()
        looker.join()


def test_the_files_and_the_socket_are_the_owners_alone(place: Served):
    place.client.status()
    address = read_address(place.home)
    assert address is not None
    path = Path(address.socket)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.home.gateway_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.home.log_file.stat().st_mode) == 0o600
    place.client.stop()
    assert not path.exists() and not place.home.gateway_file.exists()


@pytest.mark.parametrize(
    "text", ['{"pid": 99999999, "socket": "/nowhere", "http": "http://127.0.0.1:9", "version": "0.1.0"}', "{half", "[]"]
)
def test_a_stale_address_is_no_obstacle(place: Served, text: str):
    place.home.gateway_file.write_text(text)
    assert place.client.chat("hello there").text == "hello there"


def test_a_killed_gateway_is_replaced_and_the_connection_too(place: Served):
    assert place.client.chat("before").text == "before"
    killed = kill(place.home)
    assert place.client.chat("after").text == "after"
    assert place.client.status()["pid"] != killed
    assert place.client.verify()["ok"]


def test_it_outlives_whoever_started_it(place: Served):
    code = "import os, signal, sys; from aiplat_lab.client import connect; connect(sys.argv[1]).status(); os.killpg(0, signal.SIGKILL)"
    starter = subprocess.run([sys.executable, "-c", code, str(place.home.path)], start_new_session=True, check=False)
    assert starter.returncode == -signal.SIGKILL
    address = running(place.home)
    assert address is not None
    assert place.client.status()["pid"] == address.pid


def test_an_idle_gateway_ends_and_a_call_keeps_it(tmp_path: Path):
    with served(tmp_path / "home", tables="[gateway]\nidle_s = 0.6\n") as place:
        assert place.client.chat("hello", model="up/slow-first-2s").text  # longer than the idle time
        assert held(place.home)
        with place.client.stream("hello", model="up/slow-stream") as pieces:
            begun = time.monotonic()
            for _ in pieces:
                if time.monotonic() - begun > 1.5:
                    break
        assert wait_for(lambda: not held(place.home), 10)
        assert not place.home.gateway_file.exists()
        assert place.client.chat("again").text == "again"


def test_looking_at_its_health_does_not_keep_it(tmp_path: Path):
    from urllib.request import urlopen

    with served(tmp_path / "home", tables="[gateway]\nidle_s = 0.6\n") as place:
        http = place.http

        def looked() -> bool:
            try:
                urlopen(f"{http}/healthz", timeout=5).close()
            except OSError:
                return True
            return False

        assert wait_for(looked, 15)


def test_the_end_waits_for_a_call_and_records_it(place: Served):
    place.client.status()
    with ThreadPoolExecutor() as threads:
        call = threads.submit(place.client.chat, "hello", model="up/slow-first-1s")
        assert place.upstream.wait_for(lambda: place.upstream.open_requests)
        place.client.stop()
        assert call.result(30).text
    assert [row["status"] for row in place.rows()] == ["ok"]


@pytest.mark.slow
def test_a_call_without_end_is_cancelled_and_recorded_when_the_process_ends(place: Served):
    place.client.status()
    with ThreadPoolExecutor() as threads:
        call = threads.submit(place.client.chat, "hello", model="up/hang")
        assert place.upstream.wait_for(lambda: place.upstream.open_requests)
        address = read_address(place.home)
        assert address is not None
        os.kill(address.pid, signal.SIGTERM)
        with pytest.raises(AiplatError):
            call.result(40)
    assert [row["status"] for row in place.rows()] == ["cancelled"]


# --- versions ---------------------------------------------------------------------------------------------------------


def pretend(home: Home, version: str) -> Address:
    address = read_address(home)
    assert address is not None
    old = Address(**{**{name: getattr(address, name) for name in address.__slots__}, "version": version})
    write_address(home, old)
    return old


def test_an_older_gateway_that_has_nothing_to_do_is_replaced(place: Served):
    place.client.status()
    old = pretend(place.home, "0.0.1")
    with connect(place.home) as client:
        assert client.chat("hello").text == "hello"
        assert client.status()["pid"] != old.pid


def test_an_older_gateway_at_work_is_left_and_said(place: Served):
    with place.client.stream("hello", model="up/slow-stream") as pieces:
        next(pieces)
        pretend(place.home, "0.0.1")
        with connect(place.home) as client, pytest.raises(GatewayUnavailable, match="aiplat stop"):
            client.chat("hello")
    with connect(place.home) as client:
        assert wait_for(lambda: place.client.status()["in_flight"] == 0)
        assert client.chat("hello").text == "hello"


def test_an_older_client_is_told_to_restart(place: Served):
    place.client.status()
    pretend(place.home, "99.0.0")
    with connect(place.home) as client, pytest.raises(GatewayUnavailable, match="restart the kernel"):
        client.chat("hello")


# --- what keeps it from starting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[gateway\n", "not valid TOML"),
        ("[gateway]\nprot = 1\n", "Did you mean port"),
        ('time_zone = "Mars"\n', "IANA"),
    ],
)
def test_a_mistake_in_the_settings_is_told_at_once(home: Home, text: str, why: str):
    home.settings_file.write_text(text)
    begun = time.monotonic()
    with connect(home) as client, pytest.raises(ConfigError, match=why):
        client.chat("hello")
    assert time.monotonic() - begun < 5
    hand = by_hand(home)
    _, said = hand.communicate(timeout=30)
    assert hand.returncode == 1 and why in said and "Traceback" not in said


def test_a_taken_port_is_named(home: Home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        home.settings_file.write_text(f"[gateway]\nport = {port}\n")
        with connect(home) as client, pytest.raises(ConfigError, match=f"port {port} .*gateway.port"):
            client.chat("hello")
    assert not held(home)


def test_a_home_that_is_no_folder(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with connect(tmp_path / "file") as client, pytest.raises(ConfigError, match="cannot be used"):
        client.chat("hello")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_home(home: Home):
    home.path.chmod(0o500)
    try:
        with connect(home) as client, pytest.raises(ConfigError, match="cannot be used"):
            client.chat("hello")
    finally:
        home.path.chmod(0o700)


def test_a_socket_folder_that_is_not_a_folder_of_ours(home: Home, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    home.socket_folder.symlink_to(tmp_path / "elsewhere")
    try:
        with connect(home) as client, pytest.raises(ConfigError, match="not a folder of yours"):
            client.chat("hello")
    finally:
        home.socket_folder.unlink()


@pytest.mark.parametrize("name", ["with spaces", "Größe – 数据 ü", "deep/" * 30 + "home"])
def test_any_path_will_do(tmp_path: Path, name: str):
    with served(tmp_path / name) as place:
        assert place.client.chat("hello").text == "hello"
        address = read_address(place.home)
        assert address is not None and len(address.socket.encode()) < 100


def test_nobody_is_started_when_that_is_not_wanted(home: Home):
    with connect(home, spawn=False) as client:
        with pytest.raises(GatewayUnavailable, match="no gateway runs"):
            client.status()
        with pytest.raises(GatewayUnavailable):
            client.stop()
    assert not home.gateway_file.exists()


def test_a_lock_is_held_by_one(tmp_path: Path):
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.take() and not second.take()
    first.release()
    assert second.take()
    second.release()


# --- without unix sockets -----------------------------------------------------------------------------------------------


def test_where_there_are_no_unix_sockets_a_token_opens_the_door(home: Home):
    """The way of systems without such sockets, tried here by asking for it."""
    code = (
        "import sys; from pathlib import Path; from aiplat_lab.gateway import server, run; from aiplat_lab.core.settings import Home;"
        "server.listen.__kwdefaults__['unix'] = False; sys.exit(run.run(Home(Path(sys.argv[1])), background=False))"
    )
    with FaultServer(key="upstream-key-0123456789") as upstream:
        write_settings(home, upstream)
        process = subprocess.Popen([sys.executable, "-c", code, str(home.path)], stderr=subprocess.PIPE, text=True)
        try:
            assert wait_for(lambda: running(home), 30)
            address = read_address(home)
            assert address is not None and address.socket == "" and len(address.token) > 30
            with connect(home) as client:
                assert client.chat("hello").text == "hello"
                assert client.status()["pid"] == process.pid
                with client.stream("one two") as pieces:
                    assert "".join(pieces) == "one two"
            write_address(home, Address(**{**json.loads(home.gateway_file.read_text()), "token": "wrong"}))
            with connect(home) as client, pytest.raises(AiplatError, match="virtual key"):
                client.chat("hello")
            write_address(home, address)
        finally:
            stop(home)
            process.communicate(timeout=20)


def test_the_log_never_grows_without_end(place: Served):
    place.home.path.mkdir(exist_ok=True)
    place.home.log_file.write_bytes(b"x" * 6_000_000)
    place.client.status()
    assert place.home.log_file.stat().st_size < 1_000_000
    assert place.home.log_file.with_suffix(".log.1").stat().st_size == 6_000_000


def test_requests_in_many_threads_share_few_connections(place: Served):
    results: list[str] = []

    def ask(number: int) -> None:
        results.append(place.client.chat(f"number {number}").text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == sorted(f"number {number}" for number in range(16))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc for the process")
def test_a_gateway_whose_lock_was_taken_away_ends_so_that_no_second_one_lives_beside_it(place: Served):
    pid = place.client.status()["pid"]
    place.home.gateway_lock.unlink()
    place.home.gateway_lock.touch()  # as a folder that was removed and made again has it
    assert wait_for(lambda: not Path(f"/proc/{pid}").exists(), 15)
    assert place.client.status()["pid"] != pid
