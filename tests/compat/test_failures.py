"""The texts of a failure, however it crosses, and however often it is passed on."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import defer
from twisted.python.failure import Failure

from perspective_broker.compat import jelly, pb
from tests.compat.pumping import Pump


class OutOfStock(pb.Error):
    pass


class Broken(Exception):
    pass


SURROGATE = "the name is bad \udc80"
LONG = "x" * 700_000


def failure_of(error: Exception) -> Failure:
    try:
        raise error
    except Exception:
        return Failure()


class Shop(pb.Root):
    """Fails in every way, with the given error.

    Attributes:
        error: the exception.
        far: a reference to another shop, for errors that are passed on.
    """

    def __init__(self, error: Exception, far: Any = None) -> None:
        self.error = error
        self.far = far

    def remote_raise(self) -> None:
        raise self.error

    def remote_return(self) -> Any:
        return failure_of(self.error)

    def remote_return_copyable(self) -> Any:
        return pb.failure2Copyable(failure_of(self.error))

    def remote_fire(self) -> Any:
        return defer.fail(failure_of(self.error))

    def remote_listed(self) -> Any:
        return [failure_of(self.error)]

    def remote_pass_on(self) -> Any:
        return self.far.callRemote("raise")

    @defer.inlineCallbacks
    def remote_await(self) -> Any:
        found = yield self.far.callRemote("raise")
        return found

    def remote_trap(self) -> Any:
        def other(failure: Any) -> None:
            failure.trap(jelly.InsecureJelly)

        return self.far.callRemote("raise").addErrback(other).addErrback(other)

    def remote_return_what_came(self) -> Any:
        call = self.far.callRemote("raise")
        came: list[Any] = []
        call.addErrback(came.append)
        answer: Any = defer.Deferred()
        call.addCallback(lambda _: answer.callback(came[0]))
        return answer


HOME = ["raise", "return", "return_copyable", "fire"]
RELAYED = ["pass_on", "await", "trap", "return_what_came"]


def failure_from(how: str, error: Exception, *, unsafe: bool = False, far_unsafe: bool | None = None) -> Any:
    """Return the failure at a client of a shop that fails with ``error``, perhaps through a program in the middle."""
    far_unsafe = unsafe if far_unsafe is None else far_unsafe
    far = Pump(pb.PBServerFactory(Shop(error), unsafeTracebacks=far_unsafe))
    middle = Shop(error, far.client.remoteForName("root"))
    pump = Pump(pb.PBServerFactory(middle, unsafeTracebacks=unsafe))
    outcome: list[Any] = []
    pump.client.remoteForName("root").callRemote(how).addErrback(outcome.append)
    while not outcome:
        pump.run()
        far.run()
    return outcome[0]


@pytest.mark.parametrize("how", HOME + RELAYED)
@pytest.mark.parametrize("kind", [OutOfStock, Broken])
def test_a_failure_keeps_its_type_and_text(how: str, kind: type[Exception]) -> None:
    failure = failure_from(how, kind("no tea"))
    assert failure.type == f"{__name__}.{kind.__name__}".encode()
    assert failure.check(kind) is kind
    assert failure.value == "no tea"
    assert failure.traceback == "Traceback unavailable\n"


@pytest.mark.parametrize("how", [name for name in HOME + RELAYED if name != "return_copyable"])
def test_tracebacks_cross_where_the_factories_allow_it(how: str) -> None:
    failure = failure_from(how, Broken("no tea"), unsafe=True)
    assert failure.traceback.startswith("Traceback")
    assert "raise" in failure.traceback
    assert "no tea" in failure.traceback


@pytest.mark.parametrize("how", ["await", "trap"])
def test_what_only_the_program_in_the_middle_shows_is_its_own_traceback(how: str) -> None:
    failure = failure_from(how, Broken("no tea"), unsafe=True, far_unsafe=False)
    assert "Broken: no tea" in failure.traceback


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("how", HOME + RELAYED)
def test_a_text_that_is_no_utf_8_does_not_hide_the_type(how: str, unsafe: bool) -> None:
    failure = failure_from(how, Broken(SURROGATE), unsafe=unsafe)
    assert failure.check(Broken)
    assert failure.value == "the name is bad \\udc80"


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("how", HOME + RELAYED)
def test_a_long_text_is_cut(how: str, unsafe: bool) -> None:
    failure = failure_from(how, Broken(LONG), unsafe=unsafe)
    assert failure.check(Broken)
    # A program in the middle raises again the text that it would have shown: one short line.
    assert failure.value == (LONG[:1021] + "..." if how in {"await", "trap"} else LONG[: 64 * 1024])


def test_what_is_too_long_for_the_connection_is_cut_to_a_little() -> None:
    """A peer that has not logged in reads no long texts, and must get the error all the same."""
    pump = Pump(pb.PBServerFactory(Shop(Broken(LONG))))
    pump.server.session.use_limits(pump.server.session.limits.before_login())
    failure = pump.failure(pump.client.remoteForName("root").callRemote("raise"))
    assert failure.check(Broken)
    assert failure.value == LONG[:512]


def test_a_failure_among_other_values_is_an_object_without_a_flavor() -> None:
    """Its text and its traceback stay at home, as with Twisted."""
    pump = Pump(pb.PBServerFactory(Shop(Broken("private"))))
    (kept,) = pump.call("listed")
    assert isinstance(kept, jelly.Unpersistable)
    assert "private" not in repr(kept)


class TestAgain:
    """A failure of the peer's that is raised here, and made a failure again."""

    @pytest.fixture
    def again(self) -> Any:
        failure = failure_from("raise", OutOfStock("no tea"))
        with pytest.raises(pb.RemoteError) as caught:
            failure.raiseException()
        return Failure(caught.value)

    def test_it_is_known_by_its_type_and_as_a_remote_error(self, again: Any) -> None:
        assert again.check(OutOfStock) is OutOfStock
        assert again.check(pb.Error) is pb.Error
        assert again.trap(pb.RemoteError) is pb.RemoteError
        assert (again.value.remoteType, str(again.value)) == (f"{__name__}.OutOfStock".encode(), "no tea")

    def test_it_is_not_an_error_of_this_program(self, again: Any) -> None:
        assert not isinstance(again.value, (OutOfStock, pb.Error))

    def test_it_may_be_trapped_for_ever(self, again: Any) -> None:
        deferred: Any = defer.fail(again)
        for _ in range(5):
            deferred.addErrback(lambda failure: failure.trap(KeyError))
        kept: list[Any] = []
        deferred.addErrback(kept.append)
        assert kept[0].check(OutOfStock)

    def test_it_shows_what_it_is(self, again: Any) -> None:
        assert "OutOfStock: no tea" in repr(again)
        assert "OutOfStock" in again.getTraceback()


def test_a_remote_failure_shows_what_it_is() -> None:
    failure = failure_from("raise", Broken("no tea"))
    assert repr(failure) == f"<twisted.spread.pb.CopiedFailure {__name__}.Broken: 'no tea'>"
    assert f"{__name__}.Broken: no tea" in str(failure)


def test_a_peer_that_names_very_many_bases_is_read_all_the_same() -> None:
    copied = pb.CopiedFailure.__new__(pb.CopiedFailure)
    names = [f"m.Base{number}" + "x" * 10_000 for number in range(10_000)]
    copied.setCopyableState({"type": "m.First", "value": "text", "parents": ["m.First", "m.Second", *names]})
    assert copied.check("m.Second") == "m.Second"
    assert sum(map(len, copied.parents)) < 100_000
    with pytest.raises(pb.RemoteError) as caught:
        copied.raiseException()
    assert Failure(caught.value).check("m.Second")
    assert len(type(caught.value).__mro__) < 50


@pytest.mark.parametrize("name", ["", "NoModule", "a\0b.c", "." * 600, "builtins.object", "x.y z"])
def test_any_name_that_a_peer_gives_can_be_raised(name: str) -> None:
    copied = pb.CopiedFailure.__new__(pb.CopiedFailure)
    copied.setCopyableState({"type": name, "value": "text", "parents": [name, name, "m.Base"]})
    with pytest.raises(pb.RemoteError, match="text"):
        copied.raiseException()
