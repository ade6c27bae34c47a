"""``pb serve``: the objects that may be served, the urls, and the end."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import pytest

import perspective_broker as pb_
from perspective_broker.testing import ScriptedPeer
from tests.authority import Authority
from tests.cli.processes import PATIENCE, pb, serving
from tests.draining import Client, until_it_drains
from tests.proxying import header, proxy


@pytest.mark.parametrize("target", ["desk:Desk", "desk:desk", "desk:make_desk", "desk:room.desk"])
def test_serves_a_class_an_object_and_a_factory(target: str) -> None:
    with serving(target) as server:
        assert pb("call", server.url, "echo", "1").stdout == "1\n"


def test_serves_several_objects_by_name() -> None:
    with serving("desk:rooms") as server:
        assert pb("call", server.url, "echo", "1").stdout == "1\n"
        assert pb("call", server.url, "label", "--object", "top drawer").stdout == "top\n"
        assert pb("call", server.url, "count", "3", "--object", "list").stdout == "2\n"
        assert (
            pb("shell", server.url, "--object", "list", stdin="await root.call('index', 1)").stdout == "1\n"
        )
        assert pb("ping", server.url, "--object", "list", "--count", "1").returncode == 0


def test_the_users_of_an_application_among_several_objects_are_closed() -> None:
    with serving("desk:make_rooms") as server:
        assert pb("call", server.url, "label", "--object", "drawer").stdout == "open to all\n"
        assert server.stop() == 0
        assert "the users are closed" in server.logged()


def test_prints_every_url_that_was_bound(tmp_path: Path) -> None:
    socket_path = tmp_path / "desk.sock"
    with serving(listen=("tcp://127.0.0.1:0", f"unix://{socket_path}")) as server:
        tcp, unix = server.urls
        assert not tcp.endswith(":0")
        assert unix == f"unix://{socket_path}"
        assert pb("call", tcp, "echo", "tcp").stdout == "tcp\n"
        assert pb("call", unix, "echo", "unix").stdout == "unix\n"
    assert not socket_path.exists()


def test_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    listen = ("tls://localhost:0",)
    with serving("desk:Desk", "--tls-cert", str(authority.issue("localhost")), listen=listen) as server:
        done = pb("call", server.url, "echo", "secret", "--tls-ca", str(authority.file))
        assert done.stdout == "secret\n"
        done = pb("call", server.url, "echo", "secret")
        assert done.returncode == 3
        assert "certificate" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_client_may_have_to_show_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    options = ("--tls-cert", str(authority.issue("localhost")), "--tls-client-ca", str(authority.file))
    with serving("desk:Desk", *options, listen=("tls://localhost:0",)) as server:
        call = ("call", server.url, "echo", "secret", "--tls-ca", str(authority.file))
        assert pb(*call, "--tls-cert", str(authority.issue("alice@example.org"))).stdout == "secret\n"
        done = pb(*call)
        assert done.returncode == 3
        assert "it seems to want a certificate" in done.stderr
        assert done.stderr.count("\n") == 1


async def test_a_hangup_has_the_certificates_read_again_and_drops_nobody(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    file = authority.issue("localhost", expired=True)
    listen = ("tls://localhost:0",)
    with serving("desk:Desk", "--tls-cert", str(file), "-v", listen=listen) as server:

        async def hang_up(then: str) -> None:
            server.process.send_signal(signal.SIGHUP)
            while then not in server.logged():
                await asyncio.sleep(0)

        with pytest.raises(pb_.TLSError, match="expired"):
            await pb_.connect(server.url, tls=authority.trusted())
        authority.issue("localhost")
        await hang_up("INFO    the certificates were read again")
        async with pb_.connect(server.url, tls=authority.trusted()) as root:
            file.unlink()
            await hang_up("ERROR   the certificates stay as they are:")
            async with pb_.connect(server.url, tls=authority.trusted()) as another:
                assert await another.call("echo", "still the last good ones") == "still the last good ones"
            assert await root.call("echo", "still here") == "still here"


def test_a_verbose_server_logs_who_connects() -> None:
    with serving("desk:Desk", "-v") as server:
        assert pb("call", server.url, "echo", "1").returncode == 0
        assert pb("call", server.url, "nothing").returncode == 1
        assert server.stop() == 0
        log = server.logged()
    assert log.count("INFO    connection from 127.0.0.1:") == 4, log
    assert log.count(" ended: closed: the peer says: the program closed it\n") == 2, log
    assert "refused a call: Desk has no method 'nothing'" in log


def test_a_quiet_server_logs_what_goes_wrong() -> None:
    with serving() as server:
        assert pb("call", server.url, "busy", "x").returncode == 1
        assert pb("call", server.url, "fail", "x").returncode == 1
        assert server.stop() == 0
        log = server.logged()
    assert "ValueError: x" in log
    assert "Traceback" in log
    assert "Busy" not in log
    assert "connection from" not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0(number: int) -> None:
    with serving() as server:
        assert server.stop(number) == 0


async def test_connections_come_from_where_trusted_proxies_say() -> None:
    trusted = ("--trusted-proxy", "10.1.0.0/16", "--trusted-proxy", "127.0.0.1")
    with serving("desk:Desk", "-v", *trusted) as server:
        async with (
            proxy(server.url, header("192.0.2.7")) as port,
            pb_.connect(f"tcp://127.0.0.1:{port}") as root,
        ):
            assert await root.call("echo", "through") == "through"
        async with ScriptedPeer.connect(server.url) as peer:
            peer.send_bytes(b"a trusted proxy must say it")
            await peer.read_to_end()
        assert server.stop() == 0
        log = server.logged()
    assert "INFO    connection from 192.0.2.7:4711\n" in log
    assert "connection from 127.0.0.1" not in log
    assert "the proxy at 127.0.0.1 has sent no valid header" in log


async def test_a_running_call_may_end_before_the_server_does() -> None:
    with serving("desk:Desk", "--drain", str(PATIENCE)) as server:
        async with pb_.connect(server.url) as root:
            client = Client()
            promise = root.call("ask", client)
            await client.asked.wait()
            server.process.send_signal(signal.SIGTERM)
            await until_it_drains(root)
            client.may_answer.set()
            assert await promise == "at last"
            await root.connection.wait_closed()
        assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0


async def test_a_second_signal_does_not_wait_for_running_calls() -> None:
    with serving("desk:Desk", "--drain", "3600") as server:
        async with pb_.connect(server.url) as root:
            hanging = root.call("hang")
            await root.call("echo", 1)  # calls start in order, so the one before runs now
            server.process.send_signal(signal.SIGINT)
            await until_it_drains(root)
            server.process.send_signal(signal.SIGINT)
            with pytest.raises(pb_.ConnectionLost):
                await hanging
        assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0


def test_drain_of_zero_does_not_wait() -> None:
    with serving("desk:Desk", "--drain", "0") as server:
        done = pb("call", server.url, "ask", "--timeout", "0.1", "None")  # leaves nothing behind either
        assert done.returncode == 1
        assert server.stop() == 0


def test_an_address_that_is_taken_is_3() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = pb("serve", "desk:Desk", "--listen", "tcp://127.0.0.1:0", url)
    assert done.returncode == 3
    assert done.stderr.startswith(f"pb: cannot listen on {url}: ")
    assert "in use" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("desk",), "'desk' names no object; write MODULE:OBJECT"),
        (("desk:Desc",), "'desk' has no 'Desc'; there is Desk"),
        (("desk:Zzz",), "'desk' has no 'Zzz'\n"),
        (("desc:Desk",), "there is no module 'desc' in "),
        (("desk.py:Desk",), "'desk.py' is a file; give the module's name, such as 'desk'"),
        (("desk:Note",), "desk:Note: a Note cannot be served; derive it from pb.Root"),
        (("desk:NeedsMore",), "(missing a required argument: 'more'); name an object, or a function"),
        (("desk:Visitor",), "(missing a required argument: 'name'); a pb.Service makes one for each user"),
        (("desk:make_nothing",), "a NoneType cannot be served"),
        (("desk:asyncio",), "a module cannot be served"),
        (("desk:Desk", "--listen", "8787"), "'8787' is not a url of a perspective broker"),
        (("desk:Desk", "--listen", "tls://127.0.0.1:0"), "--tls-cert"),
        (("desk:Desk", "--tls-key", "key.pem"), "--tls-key needs --tls-cert"),
        (("desk:Desk", "--tls-cert", "nothing.pem"), "nothing.pem: No such file or directory"),
        (("desk:Desk", "--drain", "-1"), "--drain"),
        (("desk:Desk", "--dialect", "klingon"), "klingon"),
        (("desk:Desk", "--trusted-proxy", "gate"), "--trusted-proxy: 'gate' does not appear to be an IP"),
        (("desk:Desk", "--trusted-proxy", "10.1.0.7/16"), "--trusted-proxy: 10.1.0.7/16 has host bits set"),
        (
            ("desk:Desk", "--listen", "unix:///nowhere/pb", "--trusted-proxy", "10.0.0.7"),
            "--trusted-proxy is for proxies in front of tcp:// or tls://",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments: tuple[str, ...], complaint: str) -> None:
    done = pb("serve", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("pb: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
