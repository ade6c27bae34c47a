"""How exceptions cross between classic peers: as a copyable whose tag and state Twisted has defined."""

from __future__ import annotations

from typing import Final

from ... import errors
from ...errors import qualified_name
from ...flavors import Failure
from ...ports import Value

__all__ = ["FAILURE_TAG", "failure_from_payload", "failure_from_state", "failure_state"]

FAILURE_TAG: Final = b"twisted.spread.pb.CopyableFailure"

#: Names of exceptions on the wire: classic peers compare them with Twisted's own.
_WIRE_NAMES: Final[dict[str, str]] = {
    qualified_name(errors.Error): "twisted.spread.pb.Error",
    qualified_name(errors.NoSuchMethod): "twisted.spread.flavors.NoSuchMethod",
    qualified_name(errors.InsecureJelly): "twisted.spread.jelly.InsecureJelly",
    qualified_name(errors.ProtocolError): "twisted.spread.pb.ProtocolError",
    qualified_name(errors.DeadReferenceError): "twisted.spread.pb.DeadReferenceError",
    qualified_name(errors.ConnectionLost): "twisted.spread.pb.PBConnectionLost",
    qualified_name(errors.LoginFailed): "twisted.cred.error.UnauthorizedLogin",
}
#: Further base classes of these exceptions in Twisted, by which its programs may catch them.
_WIRE_BASES: Final[dict[str, tuple[str, ...]]] = {
    "twisted.spread.flavors.NoSuchMethod": ("builtins.AttributeError",),
    "twisted.spread.pb.DeadReferenceError": ("twisted.spread.pb.ProtocolError",),
    "twisted.cred.error.UnauthorizedLogin": (
        "twisted.cred.error.LoginFailed",
        "twisted.cred.error.Unauthorized",
    ),
}
#: An exception of ours that crosses as a builtin, for Twisted; a peer of ours finds the real name among the parents.
_BAD_ARGUMENTS: Final = qualified_name(errors.BadArguments)
_BAD_ARGUMENTS_ON_WIRE: Final = "builtins.TypeError"
_OUR_NAMES: Final = {wire: ours for ours, wire in _WIRE_NAMES.items()}

#: Key of the tag and the fields of an exception that is registered as a value. Twisted makes it an attribute.
_FIELDS: Final = "pbFields"

_UNAVAILABLE: Final = "Traceback unavailable\n"
_MALFORMED: Final = Failure("malformed", "the peer reported an error in a form that cannot be read")


def failure_state(failure: Failure, *, old: bool = False) -> dict[str, Value]:
    """Return the state of a failure as classic peers expect it.

    It does not contain booleans, because a peer of 2002 does not know them. For such a peer (``old``) the names of
    builtins are those of Python 2.
    """
    parents: dict[str, None] = {}  # in order, each once
    for name in failure.parents:
        name = _WIRE_NAMES.get(name, name)
        parents.update(dict.fromkeys((name, *_WIRE_BASES.get(name, ()))))
    kind = _WIRE_NAMES.get(failure.type, failure.type)
    if kind == _BAD_ARGUMENTS:
        kind = _BAD_ARGUMENTS_ON_WIRE
        parents = {kind: None, **parents}
    if old:
        kind, parents = _python_2(kind), dict.fromkeys(map(_python_2, parents))
    state = {
        "type": kind.encode(),
        "value": failure.value,
        "parents": list(parents),
        "traceback": failure.traceback or _UNAVAILABLE,
        "frames": [],
        "stack": [],
        "tb": None,
        "count": 1,
        "captureVars": 0,
        "unsafeTracebacks": int(bool(failure.traceback)),
    }
    if failure.fields is not None and not old and _is_plain(failure.fields[1]):
        state[_FIELDS] = list(failure.fields)
    return state


def failure_from_state(state: object) -> Failure:
    """Return the failure that a state describes; never raises. Keys and texts may be text or bytes."""
    if type(state) is not dict:
        return _MALFORMED
    fields = {_text(key): value for key, value in state.items()}
    kind = _text(fields.get("type"))
    if not kind:
        return _MALFORMED
    parents = fields.get("parents")
    names = [_text(name) for name in parents] if isinstance(parents, (list, tuple)) else []
    if kind not in names:  # a peer of 2002 sends the class itself last, and some peers do not send parents
        names.insert(0, kind)
    # Our names first; the peer's own names stay, because programs may compare them.
    ours = [_OUR_NAMES[name] for name in names if name in _OUR_NAMES]
    names = [*ours, *filter(None, names)][:64]
    kind = _OUR_NAMES.get(kind, kind)
    if _BAD_ARGUMENTS in names and kind in (_BAD_ARGUMENTS_ON_WIRE, _python_2(_BAD_ARGUMENTS_ON_WIRE)):
        kind = _BAD_ARGUMENTS
    traceback = _text(fields.get("traceback"))
    return Failure(
        kind,
        _text(fields.get("value")),
        "" if traceback == _UNAVAILABLE else traceback,
        tuple(names),
        _fields_in(fields.get(_FIELDS)),
    )


def _fields_in(value: object) -> tuple[str, Value] | None:
    """Return the tag and the fields of a registered exception; None when they are malformed, or there are none."""
    return (_text(value[0]), value[1]) if type(value) is list and len(value) == 2 else None


def _is_plain(value: object) -> bool:
    """Return whether every classic peer can read a value, whatever is registered there."""
    if type(value) is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    if type(value) is list or type(value) is tuple:
        return all(map(_is_plain, value))
    return type(value) in (type(None), bool, int, float, str, bytes)


def failure_from_payload(value: object) -> Failure:
    """Return the failure that another value stands for when it arrives as an error."""
    text = _text(value)
    return Failure("twisted.spread.pb.Error", text) if text else _MALFORMED


def _text(value: object) -> str:
    if type(value) is bytes:
        return value.decode("utf-8", "replace")
    return value if type(value) is str else ""


def _python_2(name: str) -> str:
    """Return the name of a builtin class in Python 2."""
    module, _, kind = name.partition(".")
    if module != "builtins":
        return name
    return f"__builtin__.{kind}" if kind == "object" else f"exceptions.{kind}"
