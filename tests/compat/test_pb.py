"""The face itself: its names, that it installs nothing, and where it is safer than the original."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import Portal
from twisted.internet import defer
from twisted.internet.testing import StringTransport
from twisted.python import log
from twisted.python.reflect import qual

from perspective_broker import Limits
from perspective_broker.compat import banana, flavors, jelly, pb, publish, util
from tests.compat.pumping import Pump

SEED = """
authIdentity connect failure2Copyable getObjectAt logIn noOperation printTraceback print_excFullStack AsReferenceable
AuthChallenger AuthRoot AuthServ Broker BrokerFactory CopiedFailure CopyableFailure Error IdentityWrapper Local
Perspective ProtocolError RemoteMethod RemoteReference Service
""".split()


class Money(pb.Copyable, pb.RemoteCopy):
    def __init__(self, amount: int) -> None:
        self.amount = amount
        self._kept = "private, and sent all the same"

    def pay(self) -> int:
        return self.amount


pb.setUnjellyableForClass(Money, Money)


class Forged(pb.Copyable):
    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)

    def getTypeToCopy(self) -> Any:
        return qual(Money).encode()


class Own(pb.Jellyable):
    """Jellies itself as its content, twice."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def jellyFor(self, jellier: Any) -> Any:
        return [b"list", jellier.jelly(self.part), jellier.jelly(self.part)]


class Sent(pb.Jellyable):
    """Jellies itself as the class that reads it, and its content."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def jellyFor(self, jellier: Any) -> Any:
        return [b"tests.compat.Home", jellier.jelly(self.part)]


class Home(flavors.Unjellyable):
    """Reads its content by the function for its word."""

    part: Any

    def unjellyFor(self, unjellier: Any, jellyList: Any) -> Any:
        self.part = flavors.unjellyLocal(unjellier, jellyList[1])
        return self


pb.setUnjellyableForClass("tests.compat.Home", Home)


class Badge(pb.Referenceable):
    """Crosses as a reference of a class of its own."""

    def jellyFor(self, jellier: Any) -> Any:
        return qual(Badge).encode(), jellier.invoker.registerReference(self)

    def remote_number(self) -> int:
        return 7


class BadgeReference(pb.RemoteReference):
    def number(self) -> Any:
        return self.callRemote("number")


pb.setUnjellyableForClass(Badge, BadgeReference)


class ForgedBadge(pb.Jellyable):
    """Encodes itself as a badge with that id."""

    def __init__(self, luid: Any) -> None:
        self.luid = luid

    def jellyFor(self, jellier: Any) -> Any:
        return [qual(Badge).encode(), self.luid]


class Desk(pb.Root):
    def __init__(self) -> None:
        self.later: Any = defer.Deferred()

    def remote_echo(self, value: Any, **kw: Any) -> Any:
        return (value, kw) if kw else value

    def remote_wait(self) -> Any:
        return self.later

    def remote_break(self) -> None:
        raise ValueError("broken")

    def remote_send_home(self, reference: Any) -> Any:
        return Sent(reference)

    def remote_own(self) -> Any:
        return Own([1, self])

    def remote_badge(self) -> Any:
        return Badge()

    def remote_number_of(self, badge: Any) -> Any:
        return badge.number()

    def remote_unsendable(self) -> Any:
        return object()


@pytest.fixture
def pump() -> Pump:
    return Pump(pb.PBServerFactory(Desk()))


@pytest.fixture
def logged() -> Any:
    """The errors that were logged meanwhile."""
    seen: list[Any] = []

    def observe(event: Any) -> None:
        if event.get("isError") and "failure" in event:
            seen.append(event["failure"])

    log.addObserver(observe)
    yield seen
    log.removeObserver(observe)


def test_importing_the_face_installs_no_reactor() -> None:
    program = (
        "import sys\n"
        "from perspective_broker.compat import banana, flavors, jelly, pb, publish, util\n"
        "assert 'twisted.internet.reactor' not in sys.modules\n"
        "assert not any(name.startswith('twisted.spread.') and name != 'twisted.spread.interfaces'\n"
        "               for name in sys.modules)\n"
    )
    source = Path(__file__).resolve().parents[2] / "src"
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(source)}, check=True)


def test_all_names_of_the_seed_are_there() -> None:
    assert [name for name in SEED if not hasattr(pb, name)] == []


def test_all_names_of_today_are_there() -> None:
    import twisted.spread.banana
    import twisted.spread.flavors
    import twisted.spread.jelly
    import twisted.spread.pb
    import twisted.spread.publish
    import twisted.spread.util

    assert [name for name in twisted.spread.pb.__all__ if not hasattr(pb, name)] == []
    for theirs, ours in (
        (twisted.spread.banana, banana),
        (twisted.spread.flavors, flavors),
        (twisted.spread.jelly, jelly),
        (twisted.spread.publish, publish),
        (twisted.spread.util, util),
    ):
        defined = {
            name
            for name, value in vars(theirs).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == theirs.__name__
        }
        missing = {name for name in defined if not hasattr(ours, name)}
        assert missing == set(), theirs.__name__


def test_calls_and_their_special_keywords(pump: Pump) -> None:
    assert pump.call("echo", [1, "text", b"bytes", {"a": (None, True)}]) == [
        1,
        "text",
        b"bytes",
        {"a": (None, True)},
    ]
    assert pump.call("echo", 1, name="word") == (1, {"name": "word"})
    root = pump.client.remoteForName("root")
    assert root.callRemote("echo", 1, pbanswer=0) is None
    heard: list[Any] = []
    root.callRemote("echo", 2, pbcallback=heard.append)
    pump.run()
    assert heard == [2]


def test_a_deferred_is_answered_when_it_fires(pump: Pump) -> None:
    heard: list[Any] = []
    pump.client.remoteForName("root").callRemote("wait").addCallback(heard.append)
    pump.run()
    assert heard == []
    pump.server.localObjectForID("root").later.callback("fired")
    pump.run()
    assert heard == ["fired"]


def test_an_exception_is_logged_there_and_a_failure_here(pump: Pump, logged: Any) -> None:
    failure = pump.failure(pump.client.remoteForName("root").callRemote("break"))
    assert failure.check(ValueError) is ValueError
    assert (failure.value, failure.traceback) == ("broken", "Traceback unavailable\n")
    assert [error.type for error in logged] == [ValueError]


def test_every_call_ends_with_the_connection(pump: Pump) -> None:
    root = pump.client.remoteForName("root")
    call = root.callRemote("wait")
    pump.run()
    ended: list[Any] = []
    root.notifyOnDisconnect(ended.append)
    call.addErrback(ended.append)
    pump.cut()
    failure, reference = ended
    assert failure.check(pb.PBConnectionLost)
    assert reference is root
    with pytest.raises(pb.DeadReferenceError):
        root.callRemote("echo", 1)


def test_a_call_made_too_early_waits_for_the_dialect() -> None:
    factory = pb.PBServerFactory(Desk())
    server, client = factory.buildProtocol(None), pb.PBClientFactory().buildProtocol(None)
    early = client.remoteForName("root").callRemote("echo", "early")
    heard: list[Any] = []
    early.addCallback(heard.append)
    pump = Pump.__new__(Pump)
    pump.server, pump.client = server, client
    pump._ends = {client: StringTransport(), server: StringTransport()}
    for broker, transport in pump._ends.items():
        broker.makeConnection(transport)
    pump.run()
    assert heard == ["early"]


def test_copies_keep_private_attributes(pump: Pump) -> None:
    copy = pump.call("echo", Money(5))
    assert (copy.pay(), copy._kept) == (5, "private, and sent all the same")


@pytest.mark.parametrize("name", ["pay", "__class__", "postUnjelly"])
def test_a_peer_cannot_replace_a_method(pump: Pump, name: str) -> None:
    failure = pump.failure(pump.client.remoteForName("root").callRemote("echo", Forged(**{name: 1})))
    assert "may not set" in str(failure.value)
    assert pump.call("echo", "the connection is kept") == "the connection is kept"


def test_an_object_that_jellies_itself(pump: Pump) -> None:
    first, second = pump.call("own")
    assert first is second
    assert first[0] == 1
    assert isinstance(first[1], pb.RemoteReference)
    luid = first[1].luid
    assert pump.server.localObjects[luid].refcount == 1
    del first, second
    pump.run()
    assert luid not in pump.server.localObjects


def test_a_class_may_read_the_words_for_objects_by_itself(pump: Pump) -> None:
    class Kept(pb.Referenceable):
        pass

    mine = Kept()
    home = pump.call("send_home", mine)
    assert isinstance(home, Home)
    assert home.part is mine


def test_a_reference_may_have_a_class_of_its_own(pump: Pump) -> None:
    badge = pump.call("badge")
    assert isinstance(badge, BadgeReference)
    assert pump.result(badge.number()) == 7
    assert (
        pump.call("echo", [badge])[0] == badge
    )  # it went home, and came back in the form in which it is sent
    assert pump.call("number_of", Badge()) == 7


def test_a_reference_of_a_class_of_its_own_is_released_once(pump: Pump) -> None:
    badge = pump.call("badge")
    luid = badge.luid
    assert pump.server.localObjects[luid].refcount == 1
    del badge
    pump.run()
    assert luid not in pump.server.localObjects


@pytest.mark.parametrize("luid", [-1, b"root", 1 << 64, [b"list"]])
def test_no_other_id_makes_such_a_reference(pump: Pump, luid: Any) -> None:
    assert pump.failure(pump.client.remoteForName("root").callRemote("echo", ForgedBadge(luid)))
    assert pump.call("echo", "the connection is kept") == "the connection is kept"


def test_a_class_that_unjellies_itself_is_told_the_perspective(pump: Pump) -> None:
    class Avatar(pb.Avatar):
        def perspective_take(self, badge: Any) -> Any:
            return badge.perspective is self

    pump.server.setNameForLocal("avatar", pb.AsReferenceable(Avatar(), "perspective"))
    avatar = pump.client.remoteForName("avatar")
    assert pump.result(avatar.callRemote("take", Badge())) is True


def test_an_object_without_a_flavor_arrives_as_unpersistable(pump: Pump) -> None:
    """As with Twisted: the other values of the message arrive, and of the object only its class's name."""
    before, kept, after = pump.call("echo", [1, OrderedDict(secret=2), 3])
    assert (before, after) == (1, 3)
    assert isinstance(kept, jelly.Unpersistable)
    assert "secret" not in repr(kept)
    assert isinstance(pump.call("unsendable"), jelly.Unpersistable)


def test_a_program_says_what_stands_for_the_unpersistable(
    pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(jelly.unjellyableFactoryRegistry, b"unpersistable", lambda reason: None)
    assert pump.call("echo", object()) is None


@pytest.mark.parametrize("named", [Desk, Desk.remote_echo, Desk().remote_echo, jelly])
def test_what_a_peer_would_have_to_import_fails_the_call_alone(pump: Pump, named: Any) -> None:
    root = pump.client.remoteForName("root")
    assert "has no form here" in str(pump.failure(root.callRemote("echo", named)).value)
    assert pump.call("echo", 1) == 1


def test_an_honest_exporter_may_give_more_than_twisted_lets_it(pump: Pump) -> None:
    many = [pb.Referenceable() for _ in range(pb.MAX_BROKER_REFS + 100)]
    assert len(pump.call("echo", many)) == len(many)


def test_before_login_a_peer_gets_a_sixteenth() -> None:
    class Avatar(pb.Avatar):
        def perspective_length(self, text: str) -> int:
            return len(text)

    class Realm:
        def requestAvatar(self, name: Any, mind: Any, *interfaces: Any) -> Any:
            return interfaces[0], Avatar(), lambda: None

    checker: Any = InMemoryUsernamePasswordDatabaseDontUse(user=b"pass")
    realm: Any = Realm()
    pump = Pump(pb.PBServerFactory(Portal(realm, [checker])))
    avatar = pump.result(pump.factory.login(UsernamePassword(b"user", b"pass")))
    assert pump.result(avatar.callRemote("length", "x" * 100_000)) == 100_000

    stranger = Pump(pb.PBServerFactory(Portal(realm, [checker])))
    stranger.client.remoteForName("root").callRemote(
        "login", b"x" * (Limits().before_login().string_bytes + 1)
    ).addErrback(lambda _: None)
    stranger.run()
    assert stranger.client.disconnected


def test_a_published_file_stays_in_its_directory() -> None:
    replica = publish.RemotePublished()
    replica.__dict__.update(service="../..", perspective="/etc", publishedID="a/b")
    assert "/" not in replica.getFileName()


def test_pages_of_a_method_that_fails(pump: Pump) -> None:
    failure = pump.failure(util.getAllPages(pump.client.remoteForName("root"), "nowhere"))
    assert failure.check(pb.NoSuchMethod)


def test_what_a_slow_reader_leaves_is_kept_back() -> None:
    """At a write buffer's size the transport is asked to report when it is empty; until then it gets no more bytes."""
    pump = Pump(pb.PBServerFactory(Desk()))
    transport: Any = pump._ends[pump.client]
    root = pump.client.remoteForName("root")
    answers: list[Any] = []
    for _ in range(100):
        root.callRemote("echo", b"x" * 100_000).addCallback(answers.append)
    given = len(transport.value())
    high = Limits().write_buffer_high
    assert high < given < 2 * high
    assert transport.producer is pump.client
    assert not transport.streaming
    while transport.producer is not None:
        pump.client.resumeProducing()  # as a transport does: once when asked, and again when it is empty
    pump.run()
    while len(answers) < 100:
        for broker in (pump.client, pump.server):
            while pump._ends[broker].producer is not None:
                broker.resumeProducing()
        pump.run()
    assert set(map(len, answers)) == {100_000}


def test_an_object_that_takes_messages_itself(pump: Pump) -> None:
    class Anything(pb.Referenceable):
        def remoteMessageReceived(self, broker: Any, message: str, args: Any, kw: Any) -> Any:
            found = (message, broker.unserialize(args), broker.unserialize(kw))
            return broker.serialize(defer.succeed(found))

    pump.server.setNameForLocal("anything", Anything())
    anything = pump.client.remoteForName("anything")
    assert pump.result(anything.callRemote("no_such_method", 1, a=2)) == ("no_such_method", (1,), {"a": 2})


def test_a_class_that_security_allows_crosses_by_its_state(pump: Pump) -> None:
    class Plain:
        def __init__(self, value: int) -> None:
            self.value = value

    security = jelly.SecurityOptions.of_plain_values()
    security.allowInstancesOf(Plain)
    trusting = Pump(pb.PBServerFactory(Desk(), security=security), pb.PBClientFactory(security=security))
    assert trusting.call("echo", Plain(7)).value == 7
    # The reader judges, regardless of the writer.
    one_sided = Pump(pb.PBServerFactory(Desk()), pb.PBClientFactory(security=security))
    failure = one_sided.failure(one_sided.client.remoteForName("root").callRemote("echo", Plain(7)))
    assert failure.check(jelly.InsecureJelly)


def test_names_are_shown_and_cross_as_twisted_has_them(pump: Pump) -> None:
    """An instance of a flavor itself crosses under the flavor's name, and logs show classes by their names."""
    import twisted.spread.banana
    import twisted.spread.flavors
    import twisted.spread.jelly
    import twisted.spread.pb
    import twisted.spread.publish
    import twisted.spread.util

    for theirs, ours in (
        (twisted.spread.banana, banana),
        (twisted.spread.flavors, flavors),
        (twisted.spread.jelly, jelly),
        (twisted.spread.pb, pb),
        (twisted.spread.publish, publish),
        (twisted.spread.util, util),
    ):
        for name, value in vars(theirs).items():
            if isinstance(value, type) and hasattr(ours, name):
                assert qual(getattr(ours, name)) == qual(value)
    assert repr(pump.client.remoteForName("root")).startswith(
        "<twisted.spread.pb.RemoteReference object at 0x"
    )
