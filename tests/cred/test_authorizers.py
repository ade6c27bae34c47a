"""The behaviour of every authorizer, with any store."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perspective_broker.cred import (
    Authorizer,
    Identity,
    IdentityExists,
    LegacyDigest,
    MemoryAuthorizer,
    ScramVerifier,
    SQLAuthorizer,
    UnknownIdentity,
    UnknownKey,
)
from perspective_broker.cred.identity import checked_name
from perspective_broker.cred.verifiers import legacy_response
from perspective_broker.errors import BrokerError

from .conftest import ITERATIONS, MakeAuthorizer

PASSWORD = "correct horse battery staple"
VERIFIER = ScramVerifier.from_password(PASSWORD, iterations=ITERATIONS)
DIGEST = LegacyDigest.from_password(PASSWORD)

Check = Callable[[Authorizer], Awaitable[None]]


def run(make: MakeAuthorizer, check: Check) -> None:
    """Run ``check`` with a fresh authorizer, which is closed afterwards."""

    async def main() -> None:
        async with make() as authorizer:
            await check(authorizer)

    asyncio.run(main())


async def names(authorizer: Authorizer) -> list[str]:
    return [identity.name async for identity in authorizer.list()]


def test_what_was_added_comes_back(make_authorizer: MakeAuthorizer) -> None:
    identity = Identity(
        "alice",
        verifier=VERIFIER,
        legacy_digest=DIGEST,
        disabled=True,
        keys=[("chat", "alice"), ("chat", "admin"), ("mail", "ali'c\"e; --")],
    )

    async def check(authorizer: Authorizer) -> None:
        assert await authorizer.get_identity("alice") is None
        await authorizer.add_identity(identity)
        assert await authorizer.get_identity("alice") == identity
        assert [found async for found in authorizer.list()] == [identity]

    run(make_authorizer, check)


def test_a_copy_is_kept_and_copies_are_given(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        mine = Identity("alice", keys=[("chat", "alice")])
        await authorizer.add_identity(mine)
        mine.add_key("mail")
        mine.disabled = True
        got = await authorizer.get_identity("alice")
        assert got is not None
        assert got == Identity("alice", keys=[("chat", "alice")])
        got.remove_key("chat")
        async for listed in authorizer.list():
            listed.disabled = True
        assert await authorizer.get_identity("alice") == Identity("alice", keys=[("chat", "alice")])

    run(make_authorizer, check)


def test_adding_twice(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        await authorizer.add_identity(Identity("alice", keys=[("chat", "alice")]))
        for kind in (IdentityExists, KeyError, BrokerError):
            with pytest.raises(kind, match="there is an identity 'alice' already"):
                await authorizer.add_identity(Identity("alice", keys=[("mail", "alice")]))
        with pytest.raises(IdentityExists):
            await authorizer.create("alice", PASSWORD)
        assert await authorizer.get_identity("alice") == Identity("alice", keys=[("chat", "alice")])

    run(make_authorizer, check)


def test_only_identities_are_kept(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        with pytest.raises(TypeError, match="must be an Identity, not str"):
            await authorizer.add_identity("alice")  # type: ignore[arg-type]

    run(make_authorizer, check)


def test_removing(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        await authorizer.add_identity(Identity("alice", keys=[("chat", "alice")]))
        await authorizer.add_identity(Identity("bob", keys=[("chat", "bob")]))
        await authorizer.remove_identity("alice")
        assert await authorizer.get_identity("alice") is None
        assert await names(authorizer) == ["bob"]
        # Its keys went too: the next user with the name alice does not inherit them.
        await authorizer.add_identity(Identity("alice"))
        assert await authorizer.get_identity("alice") == Identity("alice")

    run(make_authorizer, check)


@pytest.mark.parametrize("name", ["nobody", "", "nul\0", "\ud800", "x" * 300, "\u2168"])
def test_unknown_names(make_authorizer: MakeAuthorizer, name: str) -> None:
    async def check(authorizer: Authorizer) -> None:
        await authorizer.add_identity(Identity("alice"))
        assert await authorizer.get_identity(name) is None
        for attempt in (
            authorizer.remove_identity(name),
            authorizer.set_password(name, PASSWORD),
            authorizer.set_password(name, None),
            authorizer.disable(name),
            authorizer.enable(name),
            authorizer.grant(name, "chat", "p"),
            authorizer.revoke(name, "chat", "p"),
        ):
            with pytest.raises(UnknownIdentity, match="there is no identity"):
                await attempt
        assert issubclass(UnknownIdentity, KeyError)
        assert await authorizer.login_record(name) == (None, await authorizer.fake_verifier(name))

    run(make_authorizer, check)


def test_create_and_change_password(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        made = await authorizer.create("alice", PASSWORD, legacy=True)
        got = await authorizer.get_identity("alice")
        assert got == made
        assert got is not None
        assert got.verifier is not None
        assert got.verifier.iterations == await authorizer.iterations() == ITERATIONS
        assert got.verify_password(PASSWORD)
        assert not got.verify_password("another")
        assert got.verify_legacy(b"challenge", legacy_response(PASSWORD, b"challenge"))

        # Without legacy the digest of the old password must not survive.
        await authorizer.set_password("alice", "new password")
        got = await authorizer.get_identity("alice")
        assert got is not None
        assert got.verify_password("new password")
        assert not got.verify_password(PASSWORD)
        assert got.legacy_digest is None
        assert not got.verify_legacy(b"challenge", legacy_response(PASSWORD, b"challenge"))

        await authorizer.set_password("alice", None)
        got = await authorizer.get_identity("alice")
        assert got is not None
        assert got.verifier is None
        assert not got.verify_password("new password")

    run(make_authorizer, check)


def test_a_password_that_cannot_be_one_changes_nothing(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        made = await authorizer.create("alice", PASSWORD)
        for bad in ("", "\u00ad", "bell\a", "\ud800", "x" * 2000):
            with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text differs)
                await authorizer.set_password("alice", bad)
            assert bad == "" or bad not in str(caught.value)
            with pytest.raises(ValueError):  # noqa: PT011
                await authorizer.create("bob", bad)
        with pytest.raises(TypeError, match="password: must be a str"):
            await authorizer.set_password("alice", b"bytes")  # type: ignore[arg-type]
        assert [found async for found in authorizer.list()] == [made]

    run(make_authorizer, check)


def test_disabling_and_the_login_record(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        made = await authorizer.create("alice", PASSWORD, legacy=True)
        await authorizer.create("empty", None)
        assert await authorizer.login_record("alice") == (made, made.verifier)
        assert await authorizer.login_record("empty") == (None, await authorizer.fake_verifier("empty"))

        await authorizer.disable("alice")
        await authorizer.disable("alice")
        got = await authorizer.get_identity("alice")
        assert got is not None
        assert got.disabled
        assert not got.verify_password(PASSWORD)
        assert not got.verify_legacy(b"c", legacy_response(PASSWORD, b"c"))
        # An unauthenticated peer sees the salt that was there before.
        assert await authorizer.login_record("alice") == (None, made.verifier)

        await authorizer.enable("alice")
        assert await authorizer.login_record("alice") == (made, made.verifier)

    run(make_authorizer, check)


def test_keys(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        await authorizer.add_identity(Identity("alice"))
        await authorizer.grant("alice", "chat")
        await authorizer.grant("alice", "chat")
        await authorizer.grant("alice", "chat", "admin")
        await authorizer.grant("alice", "mail", "\u2168 any text")
        got = await authorizer.get_identity("alice")
        assert got is not None
        assert got.keys == {("chat", "alice"), ("chat", "admin"), ("mail", "\u2168 any text")}
        await authorizer.revoke("alice", "chat")
        for kind in (UnknownKey, KeyError):
            with pytest.raises(kind, match=r"identity 'alice' has no key to \('chat', 'alice'\)"):
                await authorizer.revoke("alice", "chat")
        got = await authorizer.get_identity("alice")
        assert got is not None
        assert got.keys == {("chat", "admin"), ("mail", "\u2168 any text")}

    run(make_authorizer, check)


@pytest.mark.parametrize("bad", ["", "nul\0", "\ud800", "x" * 256])
def test_keys_that_cannot_be(make_authorizer: MakeAuthorizer, bad: str) -> None:
    async def check(authorizer: Authorizer) -> None:
        await authorizer.add_identity(Identity("alice"))
        for attempt in (
            authorizer.grant("alice", bad),
            authorizer.grant("alice", "chat", bad),
            authorizer.revoke("alice", bad),
            authorizer.revoke("alice", "chat", bad),
        ):
            with pytest.raises(ValueError, match="name"):
                await attempt
        with pytest.raises(TypeError, match="service name: must be a str"):
            await authorizer.grant("alice", b"chat")  # type: ignore[arg-type]
        assert await authorizer.get_identity("alice") == Identity("alice")

    run(make_authorizer, check)


def test_the_list_is_sorted_by_code_point(make_authorizer: MakeAuthorizer) -> None:
    # More than a page of a database, and names that a locale would sort otherwise.
    some = [f"user{number}" for number in range(1100)] + ["Zoe", "alice", "Bob", "\u00e9mile", "~", "\u4e2d"]

    async def check(authorizer: Authorizer) -> None:
        assert await names(authorizer) == []
        for name in some:
            await authorizer.add_identity(Identity(name, keys=[("a", name), ("b", name)]))
        listed = [identity async for identity in authorizer.list()]
        assert [identity.name for identity in listed] == sorted(some)
        assert all(identity.keys == {("a", identity.name), ("b", identity.name)} for identity in listed)

    run(make_authorizer, check)


def test_the_store_may_change_while_it_is_listed(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        for name in ("a", "b", "c"):
            await authorizer.add_identity(Identity(name))
        seen = []
        async for identity in authorizer.list():
            seen.append(identity.name)
            if identity.name == "a":
                await authorizer.remove_identity("c")
                await authorizer.add_identity(Identity("d"))
        assert seen == sorted(set(seen))
        assert seen[:2] == ["a", "b"]
        assert await names(authorizer) == ["a", "b", "d"]

    run(make_authorizer, check)


def test_fake_verifiers_show_the_rounds_of_users(make_authorizer: MakeAuthorizer) -> None:
    """Not only those of new verifiers: otherwise older users could be distinguished from unused names."""

    async def check(authorizer: Authorizer) -> None:
        old = [ScramVerifier.from_password(PASSWORD, iterations=ITERATIONS + n) for n in (1, 2)]
        for number, verifier in enumerate(old):
            await authorizer.add_identity(Identity(f"user{number}", verifier=verifier))
        await authorizer.create("empty", None)
        shown = {(await authorizer.fake_verifier(f"nobody{n}")).iterations for n in range(100)}
        assert shown == {ITERATIONS + 1, ITERATIONS + 2}
        for number in range(2):
            assert await authorizer.get_secrets(f"user{number}") == await authorizer.get_identity(
                f"user{number}"
            )

    run(make_authorizer, check)


def test_secrets_are_read_without_keys_where_those_take_time(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        made = await authorizer.create("alice", PASSWORD, legacy=True)
        for number in range(3):
            await authorizer.grant("alice", f"service {number}")
        got = await authorizer.get_secrets("alice")
        assert got is not None
        assert (got.verifier, got.legacy_digest, got.disabled) == (made.verifier, made.legacy_digest, False)
        assert not got.keys or isinstance(authorizer, MemoryAuthorizer)
        assert await authorizer.get_secrets("nobody") is None
        assert await authorizer.get_secrets("\ud800") is None

    run(make_authorizer, check)


def test_fakes_of_identities_kept_elsewhere_are_the_same_after_a_restart() -> None:
    async def fake(*names: str) -> ScramVerifier:
        kept = [Identity(name, verifier=VERIFIERS[name]) for name in names]
        return await MemoryAuthorizer(kept, iterations=ITERATIONS).fake_verifier("nobody")

    VERIFIERS = {name: ScramVerifier.from_password(name, iterations=ITERATIONS) for name in "abc"}
    first = min(VERIFIERS, key=lambda name: VERIFIERS[name].server_key)
    assert asyncio.run(fake("a", "b", "c")) == asyncio.run(fake("c", "b", "a")) == asyncio.run(fake(first))
    assert asyncio.run(fake()) != asyncio.run(fake())


def test_fake_verifiers(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        real = (await authorizer.create("alice", PASSWORD)).verifier
        assert real is not None
        fake = await authorizer.fake_verifier("nobody")
        assert fake == await authorizer.fake_verifier("nobody")
        other = await authorizer.fake_verifier("nobody else")
        assert len({fake.salt, other.salt, real.salt}) == 3
        assert (len(fake.salt), fake.iterations) == (len(real.salt), real.iterations)
        # No relation that could be tested for, and odd names have one as well.
        assert len({fake.salt, fake.stored_key, fake.server_key}) == 3
        await authorizer.fake_verifier("\ud800\0")

    run(make_authorizer, check)


def test_side_by_side(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        await authorizer.add_identity(Identity("alice"))
        outcomes = await asyncio.gather(
            *(authorizer.grant("alice", f"service{number}") for number in range(30)),
            *(authorizer.add_identity(Identity("bob")) for _ in range(30)),
            *(authorizer.get_identity("alice") for _ in range(30)),
            return_exceptions=True,
        )
        got = await authorizer.get_identity("alice")
        assert got is not None
        assert got.keys == {(f"service{number}", "alice") for number in range(30)}
        assert [type(outcome) for outcome in outcomes[30:60]].count(IdentityExists) == 29
        assert all(isinstance(outcome, Identity) for outcome in outcomes[60:])

    run(make_authorizer, check)


def test_cancelling_leaves_the_store_usable(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        await authorizer.add_identity(Identity("alice"))
        for steps in range(40):
            task = asyncio.ensure_future(authorizer.grant("alice", f"service{steps}"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await authorizer.grant("alice", "last")
        got = await authorizer.get_identity("alice")
        assert got is not None
        assert got.has_key("last", "alice")

    run(make_authorizer, check)


def test_attempts_are_limited(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        assert await authorizer.delay_for("alice", 0.0) == 0.0
        for _ in range(5):
            await authorizer.record_failure("alice", 100.0)
        assert await authorizer.delay_for("alice", 100.0) == 2.0
        assert await authorizer.delay_for("alice", 101.5) == 0.5
        assert await authorizer.delay_for("bob", 100.0) == 0.0
        await authorizer.record_success("alice")
        assert await authorizer.delay_for("alice", 100.0) == 0.0

    run(make_authorizer, check)


def test_closing_twice(make_authorizer: MakeAuthorizer) -> None:
    async def check(authorizer: Authorizer) -> None:
        await authorizer.add_identity(Identity("alice"))
        await authorizer.close()
        await authorizer.close()

    run(make_authorizer, check)


def test_closing_unused(make_authorizer: MakeAuthorizer) -> None:
    asyncio.run(make_authorizer().close())


def test_no_secret_in_any_log(make_authorizer: MakeAuthorizer, caplog: pytest.LogCaptureFixture) -> None:
    loggers = ["", "sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool", "aiosqlite", "asyncio", "asyncpg"]
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in loggers]
    for logger, _ in before:
        logger.setLevel(logging.DEBUG)
    secrets: list[str] = []
    try:

        async def check(authorizer: Authorizer) -> None:
            made = await authorizer.create("alice", PASSWORD, legacy=True)
            await authorizer.set_password("alice", "another secret", legacy=True)
            got, record = await authorizer.login_record("alice")
            fake = await authorizer.fake_verifier("nobody")
            with pytest.raises(IdentityExists) as caught:
                await authorizer.add_identity(made)
            async for identity in authorizer.list():
                logging.debug("%r %r %r", identity, identity.verifier, identity.legacy_digest)
            logging.debug("%r %r %r %r %r", authorizer, made, got, record, fake, exc_info=caught.value)
            assert got is not None
            secrets.extend([PASSWORD, "another secret"])
            for verifier in (made.verifier, got.verifier, fake):
                assert verifier is not None
                parts = (verifier.salt, verifier.stored_key, verifier.server_key)
                secrets.extend([repr(part) for part in parts] + [part.hex() for part in parts])
                secrets.extend(verifier.encode().replace("$", ":").split(":")[2:])
            for digest in (made.legacy_digest, got.legacy_digest):
                assert digest is not None
                secrets.extend([digest.digest.hex(), repr(digest.digest)])
            if isinstance(authorizer, SQLAuthorizer):
                secrets.append(authorizer._store.fake_key.hex())

        run(make_authorizer, check)
    finally:
        for logger, level in before:
            logger.setLevel(level)
    assert "alice" in caplog.text  # it is the log
    assert [secret for secret in secrets if secret in caplog.text] == []


def test_a_store_of_ones_own() -> None:
    """The base needs nothing but the abstract methods: here, memory that answers slowly."""

    class Slow(MemoryAuthorizer):
        @asynccontextmanager
        async def slowly(self) -> AsyncIterator[None]:
            await asyncio.sleep(0)
            yield

        async def get_identity(self, name: str) -> Identity | None:
            async with self.slowly():
                return await super().get_identity(name)

    async def check(authorizer: Authorizer) -> None:
        made = await authorizer.create("alice", PASSWORD)
        assert await authorizer.login_record("alice") == (made, made.verifier)

    run(lambda: Slow(iterations=ITERATIONS), check)
    assert inspect.isabstract(Authorizer)


def test_memory_authorizer_begins_with_identities() -> None:
    identity = Identity("alice", verifier=VERIFIER)
    authorizer = MemoryAuthorizer([identity])
    identity.disabled = True
    assert asyncio.run(authorizer.get_identity("alice")) == Identity("alice", verifier=VERIFIER)
    with pytest.raises(IdentityExists):
        MemoryAuthorizer([identity, identity])
    with pytest.raises(ValueError, match="iterations"):
        MemoryAuthorizer(iterations=1)
    with pytest.raises(TypeError, match="iterations"):
        MemoryAuthorizer(iterations=4096.0)  # type: ignore[arg-type]


def test_memory_authorizer_never_suspends() -> None:
    """Except where a password is hashed; so callers without an event loop (compat) can drive it."""
    authorizer = MemoryAuthorizer(iterations=ITERATIONS)
    step = authorizer.add_identity(Identity("alice"))
    with pytest.raises(StopIteration):
        step.send(None)
    found = authorizer.get_identity("alice")
    with pytest.raises(StopIteration) as caught:
        found.send(None)
    assert caught.value.value == Identity("alice")


# Quotes, wildcards, cases, accents, other planes: names that a database might mistreat; all are legal.
possible = st.text("abAB '\"%_\\;-:$0\u00e9\u00df\u0436\u4e2d\U00010400", min_size=1, max_size=12)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["add", "remove", "grant", "revoke", "disable", "enable", "secrets", "clear"]),
            st.sampled_from(["a", "b", "B", "\u00e9", "a b"]) | possible,
            st.sampled_from(["s", "t"]) | possible,
            st.sampled_from([None, "p", "q"]),
        ),
        max_size=25,
    )
)
@settings(
    max_examples=30,
    deadline=None,
    # The store is shared by the examples on purpose: each leaves it empty.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_history_ends_as_in_a_dictionary(
    make_authorizer: MakeAuthorizer, steps: list[tuple[str, str, str, str | None]]
) -> None:
    async def check(authorizer: Authorizer) -> None:
        model: dict[str, Identity] = {}
        assert [checked_name(name) for _, name, _, _ in steps] == [name for _, name, _, _ in steps]
        for action, name, service, perspective in steps:
            known = model.get(name)
            expected: type[Exception] | None = None if known is not None else UnknownIdentity
            attempt: Awaitable[None]
            match action:
                case "add":
                    attempt = authorizer.add_identity(Identity(name))
                    expected = IdentityExists if known is not None else None
                    model.setdefault(name, Identity(name))
                case "remove":
                    attempt = authorizer.remove_identity(name)
                    model.pop(name, None)
                case "grant":
                    attempt = authorizer.grant(name, service, perspective)
                    if known is not None:
                        known.add_key(service, perspective)
                case "revoke":
                    attempt = authorizer.revoke(name, service, perspective)
                    if known is not None:
                        if known.has_key(service, perspective or name):
                            known.remove_key(service, perspective)
                        else:
                            expected = UnknownKey
                case "disable" | "enable":
                    attempt = authorizer.set_disabled(name, action == "disable")
                    if known is not None:
                        known.disabled = action == "disable"
                case _:
                    secrets = (VERIFIER, DIGEST) if action == "secrets" else (None, None)
                    attempt = authorizer.set_secrets(name, *secrets)
                    if known is not None:
                        known.verifier, known.legacy_digest = secrets
            if expected is None:
                await attempt
            else:
                with pytest.raises(expected):
                    await attempt
        found = {identity.name: identity async for identity in authorizer.list()}
        assert found == model
        assert list(found) == sorted(model)
        for name in found:
            await authorizer.remove_identity(name)

    run(make_authorizer, check)
