"""``pb serve --workers``: real processes, from the first line that is printed to the last that is logged."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import perspective_broker as pb_
from perspective_broker import Backoff
from perspective_broker.aio import ReconnectingReference
from tests.authority import Authority
from tests.cli.processes import PATIENCE, PB, SERVED, environment, pb, serving

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers need Unix")

SOON = Backoff(base=0.1, cap=0.5)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def processes(url: str, number: int) -> set[int]:
    """The processes that answer at a url, when there are ``number`` of them."""
    found: set[int] = set()
    async with asyncio.timeout(PATIENCE):
        while len(found) < number:
            async with pb_.connect(url) as root:
                found.add(await root.call("process"))
    return found


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_workers_share_a_url_and_are_looked_at_together(tmp_path: Path) -> None:
    control = f"unix://{tmp_path}/control"
    with serving("crew:Crew", "--workers", "3", "--control", control, "-v") as server:
        found = await processes(server.url, 3)
        assert server.process.pid not in found
        assert os.stat(tmp_path / "control").st_mode & 0o777 == 0o600
        table = (await asyncio.to_thread(pb, "status", control)).stdout.splitlines()
        assert table[0].split()[:4] == ["worker", "process", "state", "connections"]
        assert {int(line.split()[1]) for line in table[1:4]} == found
        assert [line.split()[2] for line in table[1:4]] == ["serving"] * 3
        counts = [int(line.split()[5]) for line in table[1:4]]
        assert int(table[4].split()[3]) == sum(counts) >= 3
        assert table[4].split()[0] == "all"
        assert server.stop() == 0
        log = server.logged()
    assert not (tmp_path / "control").exists()
    for process in found:
        assert re.search(rf"INFO    worker [123] \({process}\): connection from 127.0.0.1", log), log
        assert not is_alive(process)


def test_one_process_has_a_control_socket_too(tmp_path: Path) -> None:
    control = f"unix://{tmp_path}/control"
    with serving("crew:Crew", "--control", control) as server:
        done = pb("status", control, "--json")
        assert f'"process": {server.process.pid}' in done.stdout
        assert '"total": {"connections": 0' in done.stdout
    assert pb("status", control).returncode == 3
    assert pb("status", "tcp://127.0.0.1:1").returncode == 2
    assert "unix://" in pb("serve", "crew:Crew", "--control", "tcp://127.0.0.1:1").stderr


async def test_while_workers_are_replaced_no_new_connection_fails() -> None:
    with serving("crew:Crew", "--workers", "2", "--drain", "10", "-v") as server:
        seen: Counter[int] = Counter(await processes(server.url, 2))
        stopped = asyncio.Event()

        async def come_again() -> None:
            while not stopped.is_set():
                async with pb_.connect(server.url) as root:
                    seen[await root.call("process")] += 1

        async with pb_.connect(server.url, reconnect=SOON) as faithful:
            coming = [asyncio.create_task(come_again()) for _ in range(3)]
            for count in range(1, 4):
                server.process.send_signal(signal.SIGUSR1)
                await until(
                    lambda: server.logged().count("INFO    replaced\n") == count or coming[0].done()  # noqa: B023
                )
                assert await faithful.call("echo", count) == count
            stopped.set()
            await asyncio.gather(*coming)  # none of them has raised
            assert len(seen) >= 5  # a worker may be replaced before anybody comes to it
        assert server.stop() == 0
        log = server.logged()
    assert "WARNING" not in log, log
    assert "ERROR" not in log, log


async def test_a_worker_that_is_killed_is_restarted_and_only_its_clients_notice() -> None:
    with serving("crew:Crew", "--workers", "2") as server:
        clients: dict[int, ReconnectingReference] = {}
        while len(clients) < 2:
            client = await pb_.connect(server.url, reconnect=SOON)
            process = await client.call("process")
            if process in clients:
                await client.close()
            else:
                clients[process] = client
        (hit, its), (spared, other) = clients.items()
        connection = other.connection
        os.kill(hit, signal.SIGKILL)
        await until(lambda: f" ({hit}) was killed by SIGKILL\n" in server.logged())
        assert await its.call("process") != hit
        assert await other.call("process") == spared
        assert other.connection is connection
        await until(lambda: not is_alive(hit))
        assert len(await processes(server.url, 2) - {hit}) == 2
        for client in clients.values():
            await client.close()
        assert server.stop() == 0


async def test_workers_end_by_themselves_when_their_parent_is_killed() -> None:
    with serving("crew:Crew", "--workers", "2", "--drain", "0.1") as server:
        found = await processes(server.url, 2)
        server.process.kill()
        server.process.wait(PATIENCE)
        await until(lambda: not any(map(is_alive, found)))


async def test_a_signal_to_a_worker_alone_replaces_it() -> None:
    with serving("crew:Crew", "--workers", "2", "--drain", "0.2", "-v") as server:
        found = await processes(server.url, 2)
        leaves = min(found)
        os.kill(leaves, signal.SIGTERM)
        await until(lambda: not is_alive(leaves))
        assert leaves not in await processes(server.url, 2)
        assert "leaves, and another takes its place" in server.logged()
        assert server.stop() == 0


async def test_workers_are_added_and_removed(tmp_path: Path) -> None:
    control = f"unix://{tmp_path}/control"
    with serving("crew:Crew", "--workers", "1", "--drain", "0.2", "--control", control, "-v") as server:

        async def serving_now(number: int) -> None:
            async with pb_.connect(control) as root:
                while True:
                    states = [one["state"] for one in await root.call("statistics")]
                    if states == ["serving"] * number:
                        return

        server.process.send_signal(signal.SIGTTIN)
        await serving_now(2)
        assert len(await processes(server.url, 2)) == 2
        server.process.send_signal(signal.SIGTTOU)
        await serving_now(1)
        # The one that is left accepts from the socket of the other as well.
        assert len({await _process(server.url) for _ in range(20)}) == 1
        server.process.send_signal(signal.SIGTTIN)
        await serving_now(2)
        assert len(await processes(server.url, 2)) == 2
        assert server.stop() == 0


async def _process(url: str) -> int:
    async with pb_.connect(url) as root:
        return int(await root.call("process"))


async def test_a_second_signal_does_not_wait() -> None:
    class Client(pb_.Referenceable):
        def __init__(self) -> None:
            self.asked = asyncio.Event()

        async def remote_answer(self) -> None:
            self.asked.set()
            await asyncio.Event().wait()

    with serving("crew:Crew", "--workers", "1", "--drain", str(PATIENCE * 2)) as server:
        async with pb_.connect(server.url) as root:
            client = Client()
            call = root.call("ask", client)
            await client.asked.wait()
            server.process.send_signal(signal.SIGTERM)
            await until(lambda: root.connection.draining)
            server.process.send_signal(signal.SIGINT)
            with pytest.raises(pb_.ConnectionLost):
                await call
        assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0


def _serve(*options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return pb("serve", *options, "--listen", "tcp://127.0.0.1:0", "--workers", "2", env=env)


def test_workers_that_never_live_end_the_parent(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    done = _serve("crew:Crew", env={"CREW": str(tmp_path)})
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("ended with the exit code 1\n") == 5
    assert "5 workers have ended within 60 s of their start; the last lines of the last one:\n" in done.stderr
    assert done.stderr.endswith("    RuntimeError: the crew does not come aboard\n")


def test_a_mistake_is_said_once() -> None:
    done = _serve("crew:Nobody")
    assert done.returncode == 2
    assert done.stderr.count("Nobody") == 1, done.stderr
    done = pb("serve", "crew:Crew", "--listen", "memory:x", "--workers", "2")
    assert done.returncode == 2
    assert "memory:" in done.stderr


def test_a_port_that_another_program_has_is_refused() -> None:
    with serving("crew:Crew", "--workers", "2") as server:
        for options in ((), ("--workers", "2")):
            done = pb("serve", "crew:Crew", "--listen", server.url, *options)
            assert done.returncode == 3
            assert f"cannot listen on {server.url}: " in done.stderr
            assert "address already in use" in done.stderr.lower()


async def test_a_worker_whose_successor_does_not_start_stays(tmp_path: Path) -> None:
    with serving("crew:Crew", "--workers", "1", env={"CREW": str(tmp_path)}) as server:
        before = await _process(server.url)
        (tmp_path / "broken").touch()
        server.process.send_signal(signal.SIGUSR1)
        await until(lambda: f"worker 1 ({before}) is not replaced" in server.logged())
        (tmp_path / "broken").unlink()
        assert await _process(server.url) == before
        assert server.stop() == 0


async def test_certificates_are_read_again_by_all_workers(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    file = authority.issue("localhost", expired=True)
    options = ("--workers", "2", "--tls-cert", str(file), "-v")
    with serving("crew:Crew", *options, listen=("tls://localhost:0",)) as server:
        with pytest.raises(pb_.TLSError, match="expired"):
            await pb_.connect(server.url, tls=authority.trusted())
        authority.issue("localhost")
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: server.logged().count("the certificates were read again") == 2)
        for _ in range(6):
            async with pb_.connect(server.url, tls=authority.trusted()) as root:
                assert await root.call("echo", 1) == 1
        assert server.stop() == 0


async def test_a_unix_socket_is_shared(tmp_path: Path) -> None:
    listen = (f"unix://{tmp_path}/crew",)
    with serving("crew:Crew", "--workers", "2", "--drain", "0.2", "-v", listen=listen) as server:
        before = await processes(server.url, 2)
        server.process.send_signal(signal.SIGUSR1)
        await until(lambda: "INFO    replaced\n" in server.logged())
        await until(lambda: not any(map(is_alive, before)))
        assert not before & await processes(server.url, 2)
        assert server.stop() == 0
    assert not (tmp_path / "crew").exists()


async def test_guesses_at_several_workers_are_counted_together() -> None:
    """Forty wrong passwords from one address: 32 are checked, and one more for each other worker."""
    with serving("crew:make_ship", "--workers", "2", "-v") as server:
        outcomes: Counter[str] = Counter()
        names = iter(range(40))  # of which none waits for the failures of another

        async def guess() -> None:
            for number in names:
                try:
                    await pb_.connect(server.url, username=f"user {number}", password="wrong", service="deck")
                except pb_.LoginFailed:
                    outcomes["checked"] += 1
                except pb_.Unavailable as error:
                    outcomes[error.code] += 1

        await asyncio.gather(guess(), guess())
        assert outcomes["checked"] + outcomes["busy"] == 40
        assert 32 <= outcomes["checked"] <= 34
        assert server.stop() == 0


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
async def test_sockets_and_messages_of_systemd(options: tuple[str, ...], tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as passed,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        port = passed.getsockname()[1]
        command = [*PB, "serve", "crew:Crew", "--listen", f"tcp://127.0.0.1:{port}", *options]
        script = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()),"
            " LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(passed.fileno()), *command],
            pass_fds=[passed.fileno()],
            stdout=subprocess.PIPE,
            text=True,
            cwd=SERVED,
            env=environment(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000"),
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"listening on tcp://127.0.0.1:{port}\n"
            assert await asyncio.to_thread(manager.recv, 100) == b"READY=1"
            for _ in range(2):
                assert await asyncio.to_thread(manager.recv, 100) == b"WATCHDOG=1"
            assert await _process(f"tcp://127.0.0.1:{port}")
            process.terminate()
            assert await asyncio.to_thread(process.wait, PATIENCE) == 0
        # The socket stays, and its queue waits for the next start.
        waiting = socket.create_connection(("127.0.0.1", port))
        passed.accept()[0].close()
        waiting.close()
