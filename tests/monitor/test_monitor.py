"""The monitor: what it shows, to whom, and what a browser makes of it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

import perspective_broker as pb
from tests.aio.desk import Desk, until

NASTY = "</script><img src=x onerror=alert(1)>"


async def ask(
    url: str, path: str, *headers: str, host: str | None = None, method: str = "GET"
) -> tuple[int, str, bytes]:
    """Return the status, the headers and the body of an answer."""
    place = url.split("/")[2]
    reader, writer = await asyncio.open_connection(*place.rsplit(":", 1))
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {place if host is None else host}",
        "Connection: close",
        *headers,
    ]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), head.decode(), body


async def shown(url: str, path: str) -> Any:
    token = url.partition("token=")[2]
    status, _, body = await ask(url, path, f"Authorization: Bearer {token}")
    assert status == 200
    return json.loads(body)


async def test_it_shows_what_goes_on() -> None:
    async with pb.serve(Desk(), "memory:shown", monitor="http://127.0.0.1:0") as server:
        url = server.monitor_url
        assert url is not None
        async with pb.connect("memory:shown") as root:
            await root.call("echo", 1)
            with pytest.raises(pb.NoSuchMethod):
                await root.call(NASTY)
            waiting = asyncio.ensure_future(root.call("wait"))
            await until(lambda: bool(server.connections[0].running()))
            [one] = (await shown(url, "/connections"))["connections"]
            assert (one["peer"], one["dialect"], one["calls_in"]) == ("memory:shown", "pb7", 1)
            assert (await shown(url, f"/connections/{one['id']}"))["running"][0]["method"] == "wait"
            assert (await shown(url, "/calls"))["calls"][0]["method"] == "wait"
            methods = await shown(url, "/methods")
            assert [row["method"] for row in methods["methods"]] == ["Desk.echo"]
            assert methods["refused"] == 1
            assert (await shown(url, "/healthz"))["status"] == "serving"
            token = url.partition("token=")[2]
            _, _, text = await ask(url, "/metrics", f"Authorization: Bearer {token}")
            assert b'pb_call_duration_seconds_count{method="Desk.echo"} 1\n' in text
            assert b"\npb_connections 1\n" in text
            waiting.cancel()
        await until(lambda: not server.connections)
        [closed] = (await shown(url, "/connections?closed"))["closed"]
        assert closed["code"] in ("closed", "lost")


async def test_nobody_sees_it_without_the_token_or_by_another_host() -> None:
    async with pb.serve(Desk(), "memory:gate", monitor="http://127.0.0.1:0") as server:
        url = server.monitor_url
        assert url is not None
        token = url.partition("token=")[2]
        assert len(token) >= 32
        for path in (
            "/",
            "/healthz",
            "/metrics",
            "/connections",
            "/nothing",
            "/?token=",
            f"/?token={token}x",
        ):
            assert (await ask(url, path))[0] == 401
        for host in ("evil.example:80", "evil.example", ""):
            assert (await ask(url, f"/?token={token}", host=host))[0] in (400, 421)
        assert (await ask(url, f"/?token={token}", method="POST"))[0] == 405
        assert (await ask(url, f"/nothing?token={token}"))[0] == 404
        assert (await ask(url, f"/?token={token}", f"X: {'x' * 12000}"))[0] == 431
        status, head, _ = await ask(url, f"/?token={token}")
        assert status == 200
        assert "default-src 'none'" in head
        assert "unsafe" not in head
        cookie = next(line for line in head.splitlines() if line.startswith("Set-Cookie: ")).partition(": ")[
            2
        ]
        assert "HttpOnly; SameSite=Strict" in cookie
        assert (await ask(url, "/healthz", f"Cookie: {cookie.partition(';')[0]}"))[0] == 200


async def test_a_unix_socket_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "monitor"
    async with pb.serve(Desk(), "memory:unix-monitor", monitor=f"unix://{path}"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b'"status": "serving"' in await reader.read()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1:1", "http://", "tcp://127.0.0.1:1", "http://h:1/x", "http://h:x"]
)
async def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="monitor"):
        await pb.serve(Desk(), "memory:none", monitor=url)


async def test_a_browser_shows_the_page() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed (.ci/setup installs it): the page is not looked at")
    async with (
        pb.serve(Desk(), "memory:browser", monitor="http://127.0.0.1:0") as server,
        pb.connect("memory:browser") as root,
    ):
        await root.call("echo", Desk())
        assert server.monitor_url is not None
        process = await asyncio.create_subprocess_exec(
            *(
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--virtual-time-budget=4000",
                "--dump-dom",
            ),
            server.monitor_url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(120):
            dom = (await process.communicate())[0].decode()
    assert "Desk.echo" in dom
    assert "memory:browser" in dom
    assert "serving, loop late by" in dom
    assert "token=" not in dom
