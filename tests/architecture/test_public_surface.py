"""`import perspective_broker as pb` gives the names that were promised, and loads no extra to do so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import perspective_broker as pb

SRC = Path(__file__).resolve().parents[2] / "src"

# The names of the design's public face that exist so far. Later work adds to this set and takes nothing away.
EXPECTED = {
    # talking
    "Connection",
    "Backoff",
    "Promise",
    "ReconnectingReference",
    "RemoteMethod",
    "RemoteReference",
    "Server",
    "ServerStatistics",
    "connect",
    "deadline",
    "remaining",
    "run",
    "serve",
    # flavors
    "AsReferenceable",
    "Copyable",
    "Graph",
    "Referenceable",
    "RemoteCopy",
    "Root",
    "copier_for",
    # who calls, and who may
    "ANONYMOUS",
    "Application",
    "Authorizer",
    "Identity",
    "MemoryAuthorizer",
    "Perspective",
    "Portal",
    "SQLAuthorizer",
    "Service",
    # values handed to serve and connect
    "Limits",
    "Policy",
    "Registry",
    # TLS
    "ClientTLS",
    "PeerCertificate",
    "ServerTLS",
    # errors
    "ConnectionLost",
    "DeadReferenceError",
    "DeadlineExceeded",
    "Error",
    "InsecureJelly",
    "LimitExceeded",
    "NoSuchMethod",
    "ProtocolError",
    "RemoteError",
    "SerializationError",
    "TLSError",
}

OPTIONAL = ("cryptography", "cyclopts", "rich", "scramp", "sqlalchemy", "twisted", "typer")


def _constants_classes_rest(name: str) -> tuple[int, str]:
    """The order of ruff's RUF022: CONSTANTS, then Classes, then the rest."""
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name


def test_all_is_sorted_and_says_nothing_twice() -> None:
    names = list(pb.__all__)
    assert names == sorted(set(names), key=_constants_classes_rest)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_promised_name_is_public(name: str) -> None:
    assert name in pb.__all__


def test_every_public_name_resolves() -> None:
    assert [name for name in pb.__all__ if not hasattr(pb, name)] == []


def test_importing_the_package_loads_no_extra() -> None:
    program = (
        "import sys, perspective_broker\n"
        f"print(*sorted({set(OPTIONAL)!r} & {{name.partition('.')[0] for name in sys.modules}}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
