"""Every test of the session runs over each family of dialects, unless it is marked ``classic`` or ``modern``."""

from __future__ import annotations

import pytest

from perspective_broker.dialects.offer import DIALECTS

from . import objects

#: "none" is "pb" without its vocabulary, which makes no difference here.
FAMILIES = [name for name in DIALECTS if name != "none"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "classic: is about the classic dialect's own messages")
    config.addinivalue_line("markers", "modern: is about what only pb7 can do")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "dialect" in metafunc.fixturenames:
        classic = metafunc.definition.get_closest_marker("classic") is not None
        modern = metafunc.definition.get_closest_marker("modern") is not None
        names = ["pb"] if classic else ["pb7"] if modern else FAMILIES
        metafunc.parametrize("dialect", names, indirect=True)


@pytest.fixture(autouse=True)
def dialect(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The dialect on which :func:`objects.make_pair` agrees."""
    monkeypatch.setattr(objects, "dialect", request.param)
    return str(request.param)
