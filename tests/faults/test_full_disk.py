"""Row 22: no room under the store of identities. Logins go on; a change fails completely, with the reason."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from pathlib import Path

import pytest

import perspective_broker as pb
from perspective_broker.cred import StoreFull
from tests.cli.processes import PATIENCE, PB, environment
from tests.faults.served import ITERATIONS


async def test_a_server_whose_store_is_full_lives_and_lets_people_in(tmp_path: Path) -> None:
    async with pb.SQLAuthorizer(f"sqlite:///{tmp_path}/identities.db", iterations=ITERATIONS) as authorizer:
        await authorizer.create("alice", "secret")
        await authorizer.grant("alice", "desk")
        app = pb.Application("full", authorizer)
        app.add_service(pb.Service("desk"))
        engine = authorizer._store.database.engine
        assert engine is not None
        async with engine.connect() as connection:  # the pool's only one
            pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
            await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        added: list[str] = []

        async def fill() -> None:
            while True:
                name = f"user{len(added)}"
                await authorizer.create(name, "password")
                added.append(name)

        with pytest.raises(StoreFull, match="no room left"):
            await fill()
        async with pb.serve(app, "tcp://127.0.0.1:0") as server:
            url = server.urls[0]
            for _ in range(3):
                async with pb.connect(url, username="alice", password="secret", service="desk") as seat:
                    assert await seat.connection.ping() > 0
                with pytest.raises(pb.LoginFailed):
                    await pb.connect(url, username="alice", password="wrong", service="desk")
        # Changes that were written are complete; others have left nothing.
        assert {one.name async for one in authorizer.list()} == {"alice", *added}


def limited(blocks: int, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``pb`` where no file may grow beyond so many blocks of 1024 bytes."""
    return subprocess.run(
        ["bash", "-c", f'ulimit -f {blocks}; exec "$0" "$@"', *PB, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )


def test_pb_identity_says_what_happened_in_one_line() -> None:
    with tempfile.TemporaryDirectory(prefix="pb-") as directory:
        store, file = f"sqlite:///{directory}/identities.db", Path(directory, "password")
        file.write_text("secret\n")
        file.chmod(0o600)
        options = ("--store", store, "--password-file", str(file))
        assert limited(10_000, "identity", "add", "alice", *options).returncode == 0
        done = limited(1, "identity", "add", "bob", *options)
        assert done.returncode == 3
        assert done.stderr.startswith(f"pb: {store}: ")
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr

        async def names() -> set[str]:
            async with pb.SQLAuthorizer(store) as authorizer:
                return {one.name async for one in authorizer.list()}

        assert asyncio.run(names()) == {"alice"}
