"""Where the library is that these tests run: the source beside them, or an installed build."""

import os
from pathlib import Path
from typing import Final

import perspective_broker

__all__ = ["PYTHONPATH"]

_CHECKOUT: Final = Path(__file__).resolve().parents[1]

#: For processes that a test starts: the same library, and these tests.
PYTHONPATH: Final = os.pathsep.join(map(str, (Path(perspective_broker.__file__).parents[1], _CHECKOUT)))
