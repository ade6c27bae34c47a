"""The laws of this room hold in every dialect."""

import pytest

from perspective_broker.dialects.offer import DIALECTS


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    """The dialect that both ends speak."""
    return str(request.param)
