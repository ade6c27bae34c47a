"""Sockets in the file system: the life of the file."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from perspective_broker import transports
from tests.loops import both_loops
from tests.transports.recorder import Recorder

pytestmark = both_loops


@pytest.fixture
def address(tmp_path: Path) -> transports.Address:
    return transports.parse_url(f"unix://{tmp_path}/socket")


async def test_the_socket_is_removed_on_close(address: transports.Address) -> None:
    listener = await transports.listen(address, Recorder)
    os.chmod(address.path, 0o600)
    assert Path(address.path).is_socket()
    listener.close()
    await listener.wait_closed()
    assert not Path(address.path).exists()


async def test_a_socket_that_a_dead_process_left_is_replaced(address: transports.Address) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address.path)
    listener = await transports.listen(address, Recorder)
    client = Recorder()
    await transports.connect(address, lambda: client)
    client.transport.abort()
    await client.lost.wait()
    listener.close()
    await listener.wait_closed()


async def test_a_socket_that_is_listened_on_is_left_alone(address: transports.Address) -> None:
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(address.path)
        alive.listen(1)
        for _ in range(5):  # also when its backlog is full
            with pytest.raises(OSError, match=r"already$"):
                await transports.listen(address, Recorder)
    assert Path(address.path).exists()


async def test_a_path_taken_by_a_file_is_left_alone(address: transports.Address) -> None:
    Path(address.path).write_text("precious")
    with pytest.raises(FileExistsError, match="not a socket"):
        await transports.listen(address, Recorder)
    assert Path(address.path).read_text() == "precious"


def missing_folder(path: Path) -> Path:
    return path / "none" / "socket"


def link_to_nothing(path: Path) -> Path:
    (path / "link").symlink_to(path / "nowhere")
    return path / "link"


def no_folder(path: Path) -> Path:
    (path / "file").write_text("")
    return path / "file" / "socket"


def too_long(path: Path) -> Path:
    return path / ("x" * 150)


@pytest.mark.parametrize("make", [missing_folder, link_to_nothing, no_folder, too_long])
async def test_what_cannot_be_bound_or_connected_to_is_named(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    address = transports.parse_url(f"unix://{make(tmp_path)}")
    with pytest.raises(OSError, match=address.path):
        await transports.listen(address, Recorder)
    with pytest.raises(OSError, match=address.path):
        await transports.connect(address, Recorder)


async def test_a_socket_that_took_our_place_is_left_alone(address: transports.Address) -> None:
    listener = await transports.listen(address, Recorder)
    os.unlink(address.path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(address.path)
        listener.close()
        await listener.wait_closed()
        assert Path(address.path).exists()


async def test_a_socket_that_somebody_removed_is_not_missed(address: transports.Address) -> None:
    listener = await transports.listen(address, Recorder)
    os.unlink(address.path)
    listener.close()
    await listener.wait_closed()
