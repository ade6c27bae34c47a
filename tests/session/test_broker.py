"""The broker: calls, references, perspectives, errors and ends, with every byte and second under control."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import Any

import pytest

import perspective_broker as pb
from perspective_broker.errors import UnknownObject
from perspective_broker.flavors import Viewable, ViewPoint
from perspective_broker.session import Phase
from perspective_broker.testing import BrokerPair, Outcome, SansIOReference

from .objects import Counter, Desk, Hooked, Thing, Trap, TrapCopy, Unregistered, make_pair


@pytest.fixture
def sprung(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Set the function that runs where a Trap arrives."""

    def spring(action: Callable[[], None]) -> None:
        monkeypatch.setattr(TrapCopy, "sprung", staticmethod(action))

    return spring


# -- calls


def test_calls_start_in_the_order_in_which_they_were_made_whatever_object_they_are_for() -> None:
    class Many(Desk):
        def remote_child(self, name: str) -> Any:
            return Child(name)

    class Child(pb.Referenceable):
        def __init__(self, name: str) -> None:
            self.name = name

        def remote_do(self, n: int) -> None:
            started.append((self.name, n))

    started: list[tuple[str, int]] = []
    with make_pair(Many()) as pair:
        one, two = pair.call("child", "one"), pair.call("child", "two")
        for n in range(4):
            one.call("do", n)
            two.tell("do", n)
        pair.run(3)
        assert started == [(name, n) for n in range(4) for name in ("one", "two")]
        del one, two


def test_calls_beyond_the_window_wait_and_keep_their_order() -> None:
    desk = Desk()
    with make_pair(desk, limits=pb.Limits(calls_in_flight=2)) as pair:
        outcomes = [pair.root.call("later") for _ in range(5)]
        pair.root.tell("keep", "told last")
        pair.run()
        assert pair.client.broker.statistics().calls_held == 4
        assert (len(desk.later), desk.kept) == (2, [])
        for n in range(5):
            desk.later[n].answer(n)
            pair.run()
        assert [outcome.result() for outcome in outcomes] == [0, 1, 2, 3, 4]
        assert desk.kept == ["told last"]


def test_a_slot_is_free_when_its_method_has_ended_not_before() -> None:
    desk = Desk()
    with make_pair(desk, limits=pb.Limits(calls_in_flight=1), client_limits=pb.Limits()) as pair:
        outcomes = [pair.root.call("later") for _ in range(3)]
        pair.run()
        assert len(desk.later) == 1
        assert pair.server.broker.statistics().calls_waiting == 2
        for later in desk.later:
            later.answer("done")
        pair.run()
        assert [outcome.result() for outcome in outcomes] == ["done"] * 3


def test_many_waiting_plain_methods_do_not_nest() -> None:
    """Each call that ends lets the next one begin, in a loop, because a recursion would be too deep."""
    with make_pair() as pair:
        pair.server.broker.set_blocked(True, pair.clock.now)
        outcomes = [pair.root.call("echo", n) for n in range(1000)]
        pair.run()
        assert pair.server.invoked == []
        pair.server.broker.set_blocked(False, pair.clock.now)
        pair.run()
        assert [outcome.result() for outcome in outcomes] == list(range(1000))


def test_an_answer_to_a_call_that_has_not_left_ends_the_connection_and_the_call() -> None:
    with make_pair(Desk(), limits=pb.Limits(calls_in_flight=1)) as pair:
        outcomes = [pair.root.call("later"), pair.root.call("later")]
        pair.client.take()
        dialect: Any = pair.server.broker.dialect
        pair.client.receive(dialect.writer.encode_answer(2, "forged", None))
        assert pair.client.code == "bad-id"
        for outcome in outcomes:
            with pytest.raises(pb.ConnectionLost):
                outcome.result()


def test_a_tell_gets_no_answer_even_when_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    with make_pair() as pair:
        pair.root.tell("break")
        pair.root.tell("no_such_method")
        pair.run()
        assert pair.client.broker.statistics().messages_received == 2  # the greetings
        assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_an_answer_that_cannot_be_decoded_fails_its_call_once_and_the_connection_lives() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        desk.kept.append(Unregistered())
        with pytest.raises(pb.BadAnswer):
            pair.call("give")
        assert pair.call("echo", 1) == 1


def test_arguments_that_cannot_be_decoded_fail_their_call_and_the_connection_lives() -> None:
    with make_pair() as pair:
        with pytest.raises(pb.InsecureJelly):
            pair.call("echo", Unregistered())
        assert pair.call("echo", 1) == 1


def test_an_argument_that_cannot_cross_fails_its_call_and_nothing_is_sent() -> None:
    with make_pair() as pair:
        before = pair.client.broker.statistics().bytes_sent
        with pytest.raises(pb.SerializationError, match=r"args\[0\]\[1\]"):
            pair.call("echo", [Thing(), object()])
        with pytest.raises(pb.SerializationError):
            pair.root.tell("echo", object())
        assert pair.client.broker.statistics().bytes_sent == before


def test_an_answer_that_cannot_cross_fails_the_call_at_the_caller() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        desk.kept.append([Thing(), Counter(a=1), object()])
        with pytest.raises(pb.RemoteError, match="SerializationError"):
            pair.call("give")
        assert pair.call("echo", 1) == 1


def test_a_late_answer_is_ignored_and_counted_and_what_it_gives_is_given_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with make_pair() as pair:
        pair.call("echo", 1)
        late = pair.server.broker.dialect.writer.encode_answer(1, [Thing()], None)
        pair.server.broker.outbox.send(late)
        pair.run()
        assert pair.client.broker.statistics().ignored == 1


def test_an_answer_to_a_call_that_was_never_made_is_fatal() -> None:
    with make_pair() as pair:
        pair.server.broker.outbox.send(pair.server.broker.dialect.writer.encode_answer(99, None, None))
        pair.run()
        assert pair.client.code == "bad-id"


def test_a_request_id_used_again_before_its_answer_is_fatal() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        encode = pair.client.broker.dialect.writer.encode_call
        for _ in range(2):
            pair.client.broker.outbox.send(encode(7, "root", "later", True, (), {}, None))
        pair.run()
        assert pair.server.code == "duplicate-id"
        assert desk.later[0].cancelled


# -- errors


def test_an_expected_error_arrives_with_type_and_text_and_is_logged_at_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with make_pair() as pair, caplog.at_level(logging.INFO):
        with pytest.raises(pb.RemoteError, match="as expected") as caught:
            pair.call("refuse")
        assert caught.value.check(pb.Error)
        assert caught.value.traceback == ""
        assert caplog.records == []


def test_any_other_exception_is_logged_here_and_crosses_without_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with make_pair() as pair:
        with pytest.raises(pb.RemoteError, match="a defect") as caught:
            pair.call("break")
        assert caught.value.type == "builtins.KeyError"
        assert caught.value.check(LookupError)
        assert caught.value.traceback == ""
        assert caplog.records[0].exc_info


def test_a_traceback_crosses_where_that_is_allowed() -> None:
    with make_pair(unsafe_tracebacks=True) as pair:
        with pytest.raises(pb.RemoteError) as caught:
            pair.call("break")
        assert "remote_break" in caught.value.traceback


def test_a_missing_method_is_refused_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with make_pair() as pair, caplog.at_level(logging.INFO):
        for name in ("nothing", "__init__", "remote_echo", "", "echo\n"):
            with pytest.raises(pb.NoSuchMethod):
                pair.call(name)
        assert [record.exc_info for record in caplog.records] == [None] * 5


@pytest.mark.classic
@pytest.mark.parametrize("payload", [5, b"", [b"None"], [b"dictionary"], [b"unknown", 1], [b"cached", 4]])
def test_a_malformed_error_fails_its_call_once_and_the_connection_lives(payload: Any) -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        outcome = pair.root.call("later")
        pair.run()
        pair.client.broker.receiver.on_error(1, payload)
        with pytest.raises(pb.RemoteError, match="malformed"):
            outcome.result()
        desk.later[0].answer()
        assert pair.call("echo", 1) == 1


@pytest.mark.classic
def test_an_error_that_is_a_bare_text_is_a_failure_too() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        outcome = pair.root.call("later")
        pair.run()
        pair.client.broker.receiver.on_error(1, b"no")
        with pytest.raises(pb.RemoteError, match="no"):
            outcome.result()
        desk.later[0].answer()


class Sorry(pb.Error, pb.Copyable):
    """An exception whose state may not cross."""

    def __init__(self, state: Any) -> None:
        super().__init__("sorry")
        self.state = state

    def get_type_to_copy(self) -> str:
        return "test.Sorry"

    def get_state_to_copy(self) -> Any:
        return self.state


@pytest.mark.parametrize("size", [1, 9000])
def test_an_exception_whose_state_cannot_cross_is_reported_without_it_and_leaves_nothing(size: int) -> None:
    desk = Desk()
    with make_pair(desk, limits=pb.Limits(message_bytes=8000)) as pair:
        outcome = pair.root.call("later")
        pair.run()
        desk.later[0].fail(Sorry([Thing(), b"x" * size, *([object()] if size == 1 else [])]))
        pair.run()
        with pytest.raises(pb.RemoteError, match="could not be sent"):
            outcome.result()


@pytest.mark.parametrize(
    "limits", [{"string_bytes": 4000, "large_string_bytes": 4000}, {"message_bytes": 4000}]
)
@pytest.mark.parametrize(
    "error",
    [KeyError("x" * 5000), type("T" * 5000, (Exception,), {})("x" * 5000), KeyError("x" * 3000, "\udc80")],
)
def test_an_exception_too_long_for_a_message_is_reported_in_short(
    error: Exception, limits: dict[str, int]
) -> None:
    desk = Desk()
    with make_pair(desk, limits=pb.Limits(**limits), unsafe_tracebacks=True) as pair:
        outcome = pair.root.call("later")
        pair.run()
        desk.later[0].fail(error)
        pair.run()
        with pytest.raises(pb.RemoteError):
            outcome.result()
        assert pair.call("echo", 1) == 1


# -- references


def test_an_object_sent_twice_arrives_as_the_same_reference() -> None:
    desk, thing = Desk(), Thing()
    with make_pair(desk) as pair:
        pair.call("keep", thing, thing)
        pair.call("keep", thing)
        one, two, three = desk.kept
        assert one is two
        assert two is three
        assert hash(one) == hash(two)
        assert one._receipts == 3
        del one, two, three
        desk.kept.clear()


def test_a_reference_comes_home_as_the_object_itself() -> None:
    thing = Thing()
    with make_pair() as pair:
        assert pair.call("echo", thing) is thing


def test_the_root_comes_home_as_itself_and_cannot_be_freed() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        pair.call("keep", pair.root)
        assert desk.kept == [desk]
        desk.kept.clear()
        pair.root.release()
        assert pair.call("echo", 1) == 1


@pytest.mark.classic
@pytest.mark.parametrize("luid", ["root", 0, 7])
def test_releasing_what_was_never_given_is_fatal(luid: Any) -> None:
    with make_pair() as pair:
        writer: Any = pair.client.broker.dialect.writer
        pair.client.broker.outbox.send(
            writer.encode_releases({luid: 1})
            if isinstance(luid, int)
            else writer._decref_head + writer.spelling.string(b"root")
        )
        pair.run()
        assert pair.server.code == "refcount"


def test_a_late_release_is_ignored_and_counted() -> None:
    with make_pair() as pair:
        pair.call("echo", Thing())
        gc.collect()
        pair.run()
        assert pair.client.broker.statistics().exported == 0
        pair.server.broker.outbox.send(pair.server.broker.dialect.writer.encode_releases({1: 1}))
        pair.run()
        assert pair.client.broker.statistics().ignored == 1
        assert pair.client.code == ""


def test_a_release_that_crosses_a_re_send_is_safe() -> None:
    desk, thing = Desk(), Thing("kept")
    with make_pair(desk) as pair:
        pair.call("keep", thing)
        desk.kept.clear()
        gc.collect()
        sent = pair.root.call("keep", thing)  # crosses the release, which is on its way
        pair.run()
        assert sent.done
        assert pair.client.broker.statistics().exported == 1
        name = desk.kept[0].call("name")
        pair.run()
        assert name.result() == "kept"
        desk.kept.clear()


def test_an_object_cannot_be_called_after_its_release() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        pair.call("keep", Thing())
        luid = desk.kept[0]._luid
        desk.kept.clear()
        gc.collect()
        pair.run()
        outcome = Outcome()
        pair.server.broker.outgoing.call(SansIOReference(pair.server, luid, None), "name", (), {}, outcome)
        pair.run()
        with pytest.raises(UnknownObject):
            outcome.result()


def test_a_reference_that_was_given_back_cannot_cross() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        pair.call("keep", Thing())
        reference = desk.kept.pop()
        reference.release()
        with pytest.raises(pb.SerializationError, match="given back"):
            pair.server.broker.exporter.home_id(reference)


def test_a_reference_to_a_third_party_cannot_cross() -> None:
    with (
        make_pair() as pair,
        make_pair() as other,
        pytest.raises(pb.SerializationError, match="third program"),
    ):
        pair.call("echo", other.root)


def test_after_the_end_every_use_raises_at_once() -> None:
    with make_pair() as pair:
        root = pair.root
        pair.client.broker.close()
        with pytest.raises(pb.DeadReferenceError, match="the program closed it"):
            root.call("echo")
        with pytest.raises(pb.DeadReferenceError):
            root.tell("echo")


def test_before_the_greeting_a_call_raises() -> None:
    pair = make_pair(established=False)
    with pytest.raises(pb.DeadReferenceError, match="not established"):
        pair.root.call("echo")


def test_references_in_a_call_to_nobody_are_given_back() -> None:
    with make_pair() as pair:
        outcome = Outcome()
        nobody = SansIOReference(pair.client, 99, None)
        pair.client.broker.outgoing.call(nobody, "echo", (Thing(),), {"more": Thing()}, outcome)
        pair.run()
        with pytest.raises(UnknownObject):
            outcome.result()


def test_more_references_than_a_peer_may_give_are_fatal() -> None:
    with make_pair(limits=pb.Limits(references_received=3), client_limits=pb.Limits()) as pair:
        pair.call("keep", *(Thing() for _ in range(3)))
        pair.root.call("keep", Thing())
        pair.run()
        assert pair.server.code == "limit-references"


def test_references_that_were_dropped_already_do_not_count() -> None:
    """Also when all arrived in one chunk, before any release could be sent."""
    with make_pair(limits=pb.Limits(references_received=3), client_limits=pb.Limits()) as pair:
        outcomes = [pair.root.call("echo", *(Thing() for _ in range(3))) for _ in range(3)]
        pair.run()
        assert all(outcome.error is None for outcome in outcomes)
        del outcomes


@pytest.mark.parametrize(
    ("count", "at_once", "limits"),
    [(40_000, 1000, {}), (60, 5, {"nodes": 60}), (60, 5, {"message_bytes": 120})],
    ids=["many", "few items in a message", "few bytes in a message"],
)
def test_references_that_are_dropped_in_one_turn_are_given_back_in_messages_of_bounded_size(
    count: int, at_once: int, limits: dict[str, int]
) -> None:
    desk = Desk()
    with make_pair(desk, limits=pb.Limits(references_received=count, **limits)) as pair:
        for _ in range(count // at_once):
            pair.call("keep", *(Thing() for _ in range(at_once)))
        assert pair.client.broker.statistics().exported == count
        desk.kept.clear()
        gc.collect()
        messages = pair.server.broker.data_to_send()
        assert max(map(len, messages)) <= min(32 * 1024, limits.get("message_bytes", 1 << 20))
        pair.client.receive(b"".join(messages))
        assert pair.client.broker.statistics().exported == 0
        assert pair.call("echo", 1) == 1


def test_references_dropped_after_the_end_are_not_kept_in_mind() -> None:
    desk = Desk()
    pair = make_pair(desk)
    pair.call("keep", *(Thing() for _ in range(5)))
    pair.server.broker.close()
    pair.server.woken = False
    desk.kept.clear()
    assert not pair.server.broker._releases
    assert not pair.server.woken


def test_more_exports_than_the_limit_fail_the_call_alone() -> None:
    desk = Desk()
    limits = pb.Limits(references_exported=3)
    with make_pair(desk, client_limits=limits) as pair:
        with pytest.raises(pb.SerializationError, match="references_exported"):
            pair.call("keep", *(Thing() for _ in range(4)))
        pair.call("keep", *(Thing() for _ in range(3)))
        desk.kept.clear()


# -- perspectives and views


class Member(pb.Referenceable):
    """A perspective, with all that the session uses of it."""

    def __init__(self, name: str, room: Room) -> None:
        self.name = name
        self.room = room
        self.kept: list[Any] = []

    def _pb_export_target(self, perspective: Any) -> Any:
        from perspective_broker.flavors import Target

        return Target(self, self, "perspective_", (), self)

    def perspective_room(self) -> Any:
        return self.room

    def perspective_card(self) -> Any:
        return Card()

    def perspective_keep(self, thing: Any) -> None:
        self.kept.append(thing)


class Room(Viewable):
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def view_say(self, who: Member, text: str) -> str:
        self.said.append((who.name, text))
        return who.name

    def view_room(self, who: Member) -> Any:
        return self


class Card(pb.Copyable):
    def get_type_to_copy(self) -> str:
        return "test.Hooked"

    def get_state_to_copy_for(self, perspective: Any) -> Any:
        return {"value": perspective.name if perspective is not None else None}


class Lobby(Desk):
    def __init__(self) -> None:
        super().__init__()
        self.room = Room()
        self.members = {name: Member(name, self.room) for name in ("alice", "bob")}

    def remote_member(self, name: str) -> Member:
        return self.members[name]

    def remote_room(self) -> Room:
        return self.room

    def remote_point(self, name: str) -> ViewPoint:
        return ViewPoint(self.members[name], self.room)


def call(pair: BrokerPair, reference: SansIOReference, name: str, *args: Any) -> Any:
    outcome = reference.call(name, *args)
    pair.run()
    return outcome.result()


def test_two_views_of_one_object_are_told_apart() -> None:
    lobby = Lobby()
    with make_pair(lobby) as pair:
        alice = call(pair, pair.call("member", "alice"), "room")
        bob = call(pair, pair.call("member", "bob"), "room")
        assert alice != bob
        assert call(pair, alice, "say", "hello") == "alice"
        assert call(pair, bob, "say", "hi") == "bob"
        assert lobby.room.said == [("alice", "hello"), ("bob", "hi")]
        del alice, bob


def test_what_a_view_returns_is_a_view_from_the_same_perspective() -> None:
    with make_pair(Lobby()) as pair:
        room = call(pair, pair.call("member", "alice"), "room")
        assert call(pair, room, "room") is room
        del room


def test_a_view_point_names_the_perspective_where_none_is_known() -> None:
    with make_pair(Lobby()) as pair:
        assert call(pair, pair.call("point", "bob"), "say", "hi") == "bob"


def test_a_viewable_outside_of_any_perspective_cannot_cross() -> None:
    with make_pair(Lobby()) as pair, pytest.raises(pb.RemoteError, match=r"pb\.ViewPoint"):
        pair.call("room")


def test_a_copyable_is_asked_for_the_state_of_the_perspective_that_answers() -> None:
    with make_pair(Lobby()) as pair:
        assert call(pair, pair.call("member", "alice"), "card").value == "alice"


def test_what_is_sent_through_a_reference_received_by_a_perspective_is_coded_under_it() -> None:
    lobby, mind = Lobby(), Desk()
    with make_pair(lobby) as pair:
        call(pair, pair.call("member", "alice"), "keep", mind)
        call(pair, pair.call("member", "bob"), "keep", mind)
        for member in lobby.members.values():
            member.kept[0].tell("keep", Card())
        pair.run()
        assert [card.value for card in mind.kept] == ["alice", "bob"]
        assert lobby.members["alice"].kept == lobby.members["bob"].kept  # but the same object
        lobby.members.clear()
        del member


# -- hooks of the application, while a message is encoded


def test_a_hook_that_raises_fails_its_call_and_leaves_nothing() -> None:
    def hook() -> None:
        raise KeyError("no state today")

    desk = Desk()
    with make_pair(desk) as pair:
        with pytest.raises(KeyError):
            pair.call("keep", Thing(), Counter(a=1), Hooked(hook))
        desk.kept += [Thing(), Counter(a=1), Hooked(hook)]
        desk.remote_give = lambda: list(desk.kept)  # type: ignore[method-assign]
        with pytest.raises(pb.RemoteError, match="no state today"):
            pair.call("give")
        assert pair.call("echo", 1) == 1


def test_what_a_hook_says_follows_the_message_that_asked_it() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        nested: list[Outcome] = []

        def hook() -> str:
            pair.root.tell("keep", "told in the hook")
            nested.append(pair.root.call("keep", "called in the hook"))
            return "state"

        pair.root.call("keep", Hooked(hook))
        pair.root.tell("keep", "after")
        pair.run()
        assert desk.kept[0].value == "state"
        assert desk.kept[1:] == ["told in the hook", "called in the hook", "after"]
        assert nested[0].done


def test_what_a_hook_says_is_said_even_when_its_own_message_fails() -> None:
    desk = Desk()
    with make_pair(desk) as pair:

        def hook() -> Any:
            pair.root.tell("keep", "told in the hook")
            return object()

        with pytest.raises(pb.SerializationError):
            pair.call("keep", Hooked(hook))
        assert desk.kept == ["told in the hook"]


def test_a_hook_may_send_what_its_failing_message_introduces() -> None:
    """The failing message takes its replica back, so the next one has to introduce it again."""
    desk, counter = Desk(), Counter(a=1)
    with make_pair(desk) as pair:

        def hook() -> Any:
            pair.root.tell("keep", counter)
            return object()

        with pytest.raises(pb.SerializationError):
            pair.call("keep", counter, Hooked(hook))
        assert desk.kept[0].numbers == {"a": 1}
        assert len(counter.asked) == 2
        assert len(counter.stopped) == 1
        desk.kept.clear()


def test_a_hook_whose_words_cannot_cross_costs_the_log_a_line(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    with make_pair(desk) as pair:

        def hook() -> None:
            pair.root.tell("keep", object())

        pair.call("keep", Hooked(hook))
        assert len(desk.kept) == 1
        assert "could not be sent" in caplog.text


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("before", [Thing, Counter])
def test_a_hook_may_end_the_connection_that_it_is_asked_for(before: Callable[[], Any], fails: bool) -> None:
    with make_pair() as pair:
        first, thing = pair.root.call("later"), before()

        def hook() -> Any:
            pair.client.broker.close()
            return [object() if fails else None, Thing(), Counter()]

        outcome = pair.root.call("keep", thing, Hooked(hook), Thing(), Counter(), thing)
        with pytest.raises(pb.ConnectionLost):
            first.result()
        with pytest.raises(pb.SerializationError if fails else pb.ConnectionLost):
            outcome.result()
        assert isinstance(thing, Thing) or thing.observers == []
        pair.run()
        assert pair.server.cause is not None


def test_a_hook_of_an_answer_may_end_the_connection() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        desk.kept.append(Hooked(lambda: pair.server.broker.close()))
        outcome = pair.root.call("give")
        pair.run()
        with pytest.raises(pb.ConnectionLost):
            outcome.result()


def test_a_cacheable_may_end_the_connection_when_it_is_asked_for_its_state() -> None:
    with make_pair() as pair:
        counter = Counter(lambda observer: pair.client.broker.close(), a=1)
        outcome = pair.root.call("keep", counter)
        with pytest.raises(pb.ConnectionLost):
            outcome.result()
        assert len(counter.stopped) == 1


def test_a_class_that_ends_the_connection_where_it_arrives_is_not_called_any_more(
    sprung: Callable[[Callable[[], None]], None],
) -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        sprung(lambda: pair.server.broker.close())
        outcome = pair.root.call("keep", Trap())
        pair.run()
        with pytest.raises(pb.ConnectionLost):
            outcome.result()
        assert desk.kept == []
        assert pair.server.invoked == []


def test_a_class_that_ends_the_connection_in_an_answer(sprung: Callable[[Callable[[], None]], None]) -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        desk.kept.append(Trap())
        sprung(lambda: pair.client.broker.close())
        outcome, other = pair.root.call("give"), pair.root.call("echo", Thing())
        pair.run()
        assert isinstance(outcome.result(), TrapCopy)
        with pytest.raises(pb.ConnectionLost):
            other.result()


def test_a_method_may_end_its_connection() -> None:
    class Suicidal(Desk):
        def remote_die(self) -> str:
            pair.server.broker.close("tired", "enough for today")
            return "never heard"

    with make_pair(Suicidal()) as pair:
        outcomes = [pair.root.call("die"), pair.root.call("echo", 1)]
        pair.run()
        for outcome in outcomes:
            with pytest.raises(pb.ConnectionLost):
                outcome.result()
        assert pair.server.code == "tired"
        assert pair.server.invoked == ["die"]


def test_whoever_hears_the_end_of_a_call_may_call_again() -> None:
    class Again(Outcome):
        def succeed(self, value: Any) -> None:
            super().succeed(value)
            outcomes.append(pair.root.call("echo", "again"))

    with make_pair() as pair:
        outcomes: list[Outcome] = [Again()]
        pair.client.broker.outgoing.call(pair.root, "echo", (1,), {}, outcomes[0])
        pair.run()
        assert [outcome.result() for outcome in outcomes] == [1, "again"]


def test_whoever_hears_the_end_of_the_connection_may_try_to_call_again() -> None:
    class Again(Outcome):
        def fail(self, error: Exception) -> None:
            super().fail(error)
            with pytest.raises(pb.DeadReferenceError):
                pair.root.call("echo")

    with make_pair() as pair:
        outcome = Again()
        pair.client.broker.outgoing.call(pair.root, "later", (), {}, outcome)
        pair.link.cut()
        assert outcome.done


# -- the end, and time


@pytest.mark.classic
def test_a_protocol_error_ends_every_pending_call_exactly_once_with_its_code() -> None:
    desk = Desk()
    with make_pair(desk, limits=pb.Limits(calls_in_flight=2)) as pair:
        outcomes = [pair.root.call("later") for _ in range(5)]
        pair.run()
        pair.client.receive(b"\x05\x88")
        for outcome in outcomes:
            with pytest.raises(pb.ConnectionLost, match="bad-token"):
                outcome.result()
        pair.run()
        assert pair.server.code == "lost"
        assert [later.cancelled for later in desk.later] == [True, True]


def test_a_protocol_error_inside_of_an_answer_fails_its_call_exactly_once() -> None:
    desk = Desk()
    with make_pair(desk, client_limits=pb.Limits(references_received=1)) as pair:
        desk.kept.append([Thing(), Thing()])
        outcome, other = pair.root.call("give"), pair.root.call("later")
        pair.run()
        for ended in (outcome, other):
            with pytest.raises(pb.ConnectionLost, match="limit-references"):
                ended.result()


def test_the_end_is_told_once_and_the_first_cause_stays() -> None:
    with make_pair() as pair:
        pair.client.broker.close("first", "the first reason")
        pair.client.broker.close("second", "too late")
        pair.client.broker.connection_lost("too late")
        pair.client.broker.receive_eof()
        assert pair.client.code == "first"
        assert pair.client.broker.process(1, pair.clock.now) is False


def test_nothing_is_acted_on_or_said_after_the_end() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        outcome = pair.root.call("later")
        pair.run()
        pair.root.tell("keep", "too late")
        pair.server.broker.close()
        pair.server.take()  # a farewell, perhaps
        desk.later[0].answer("too late")
        pair.server.broker.set_blocked(True, pair.clock.now)
        assert pair.server.broker.next_deadline() is None
        assert pair.server.take() == b""
        pair.run()
        assert desk.kept == []
        with pytest.raises(pb.ConnectionLost):
            outcome.result()


@pytest.mark.parametrize("carried", [0, 5])
def test_a_drain_before_the_greeting_is_over_refuses_the_first_call(carried: int) -> None:
    with make_pair(established=False) as pair:
        pair.link.deliver(pair.client)
        pair.link.deliver(pair.server, carried)
        assert pair.server.broker.lifecycle.phase not in (Phase.OPEN, Phase.CLOSED)
        pair.server.broker.drain()
        pair.run()
        assert pair.server.broker.lifecycle.phase is Phase.DRAINING
        assert pair.server.opened == 1
        with pytest.raises(pb.Unavailable, match="draining: "):
            pair.call("echo", 1)


def test_after_the_end_there_is_no_root() -> None:
    with make_pair() as pair:
        pair.link.cut()
        with pytest.raises(pb.DeadReferenceError, match="lost"):
            pair.client.broker.root()


def test_a_draining_connection_refuses_calls_and_ends_what_runs() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        running = pair.root.call("later")
        pair.run()
        pair.server.broker.drain()
        with pytest.raises(pb.Unavailable, match="draining: "):
            pair.call("keep", Thing())
        assert not pair.server.broker.is_idle
        desk.later[0].answer("done")
        pair.run()
        assert running.result() == "done"
        assert pair.server.broker.is_idle


def test_a_greeting_that_takes_too_long_ends_the_connection() -> None:
    pair = make_pair(established=False, limits=pb.Limits(handshake_seconds=10))
    pair.link.deliver(pair.client)
    pair.advance(9.9)
    assert (pair.server.code, pair.client.code) == ("", "")
    pair.advance(0.1)
    assert (pair.server.code, pair.client.code) == ("handshake-timeout", "handshake-timeout")


@pytest.mark.classic
def test_a_message_that_takes_too_long_ends_the_connection() -> None:
    with make_pair(limits=pb.Limits(message_seconds=30)) as pair:
        pair.root.call("echo", b"x" * 100)
        pair.link.deliver(pair.server, 50)
        assert pair.server.broker.next_deadline() == pytest.approx(pair.clock.now + 30 + 50 / 16384)
        for _ in range(30):
            pair.advance(0.9)
            pair.link.deliver(pair.server, 1)  # bytes alone gain little time
        assert pair.server.code == ""
        pair.advance(3.1)
        assert pair.server.code == "message-timeout"


def test_between_messages_no_time_runs() -> None:
    with make_pair(limits=pb.Limits(message_seconds=30)) as pair:
        pair.call("echo", 1)
        pair.advance(10_000)
        assert pair.call("echo", 2) == 2


def test_while_we_do_not_read_the_time_is_ours() -> None:
    desk = Desk()
    limits = pb.Limits(calls_in_flight=1, waiting_bytes=1000, message_seconds=30, stalled_seconds=None)
    with make_pair(desk, limits=limits, client_limits=pb.Limits()) as pair:
        outcomes = [pair.root.call("later") for _ in range(9)]
        pair.run()
        assert not pair.server.broker.wants_data
        pair.advance(10_000)
        for later in desk.later:
            later.answer()
            pair.run()
        assert all(outcome.done and outcome.error is None for outcome in outcomes)


def test_a_peer_that_reads_nothing_is_given_up() -> None:
    with make_pair(limits=pb.Limits(slow_consumer_seconds=30)) as pair:
        pair.server.set_blocked(True)
        pair.advance(29)
        pair.server.set_blocked(False)
        pair.advance(60)
        assert pair.server.code == ""
        pair.server.set_blocked(True)
        pair.advance(30)
        assert pair.server.code == "slow-consumer"


def test_no_method_starts_while_the_peer_reads_no_answers() -> None:
    with make_pair() as pair:
        pair.server.set_blocked(True)
        outcome = pair.root.call("echo", 1)
        pair.run()
        assert pair.server.invoked == []
        pair.server.set_blocked(False)
        pair.run()
        assert outcome.result() == 1


def test_statistics_count_what_is_there(dialect: str) -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        pair.root.call("later", Thing())
        pair.call("keep", Thing(), Counter())
        here, there = pair.client.broker.statistics(), pair.server.broker.statistics()
        assert (here.phase, here.dialect) == ("open", dialect)
        assert (here.calls_out, there.calls_in) == (1, 1)
        assert (here.observed, there.replicas) == (1, 1)
        assert here.bytes_sent == there.bytes_received
        desk.later[0].answer()
        desk.kept.clear()


def test_use_limits_changes_the_judge_in_the_middle() -> None:
    with make_pair(limits=pb.Limits(string_bytes=10), client_limits=pb.Limits()) as pair:
        pair.server.broker.use_limits(pb.Limits())
        assert pair.call("echo", b"x" * 100) == b"x" * 100


def test_methods_that_answer_later_keep_their_own_answers() -> None:
    desk = Desk()
    with make_pair(desk) as pair:
        outcomes = [pair.root.call("later") for _ in range(3)]
        pair.run()
        for n in (2, 0, 1):
            desk.later[n].answer(n)
        pair.run()
        assert [outcome.result() for outcome in outcomes] == [0, 1, 2]
