"""A proxy that sends the clients' addresses with version 2 of the PROXY protocol."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from ipaddress import ip_address

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def header(address: str, port: int = 4711, *, more: bytes = b"") -> bytes:
    """Return a proxy's header for a connection from an address."""
    packed = ip_address(address).packed
    data = packed + packed + struct.pack("!HH", port, 8787) + more
    return (
        SIGNATURE + b"\x21" + (b"\x11" if len(packed) == 4 else b"\x21") + struct.pack("!H", len(data)) + data
    )


@contextlib.asynccontextmanager
async def proxy(url: str, said: bytes) -> AsyncIterator[int]:
    """Run a proxy in front of a server on this machine, with the same header for each connection; yield its port."""
    target = int(url.rpartition(":")[2])
    piping: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection("127.0.0.1", target)
        downstream.write(said[:20])
        await downstream.drain()
        await asyncio.sleep(0)
        downstream.write(said[20:])
        for source, sink in ((reader, downstream), (upstream, writer)):
            task = asyncio.ensure_future(pipe(source, sink))
            piping.add(task)
            task.add_done_callback(piping.discard)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
    if piping:
        await asyncio.wait(piping)
