"""The modern dialect, ``pb7``: length-prefixed MessagePack. Specified in ``docs/wire/pb7.md``."""

from .messages import Pb7Dialect

__all__ = ["Pb7Dialect"]
