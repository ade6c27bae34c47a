"""The page of the monitor, which is one file, and the policy that lets a browser run that file's code and no other."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Final

__all__ = ["PAGE", "POLICY"]

PAGE: Final = files(__name__.rpartition(".")[0]).joinpath("page.html").read_bytes()


def _source(tag: str) -> str:
    found = re.search(rf"<{tag}>(.*?)</{tag}>".encode(), PAGE, re.DOTALL)
    assert found is not None
    return "'sha256-" + base64.b64encode(hashlib.sha256(found[1]).digest()).decode() + "'"


POLICY: Final = (
    f"default-src 'none'; script-src {_source('script')}; style-src {_source('style')}; connect-src 'self'; "
    "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
