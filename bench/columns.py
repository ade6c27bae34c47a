"""The columns: the measurement, its unit, and the check before the clock runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from bench.peer import Caller, clock
from bench.values import (
    IN_FLIGHT,
    MEBIBYTE,
    OBSERVERS,
    PAYLOAD,
    POINTS,
    RECORDS,
    UPDATES,
    Mismatch,
    check_points,
    check_same,
)

STREAM_BYTES: Final = 1 << 30


@dataclass(frozen=True)
class Reading:
    """One measurement: a rate, and the amount it was taken over."""

    rate: float
    amount: float
    seconds: float


Measure = Callable[[Caller, float, float], Awaitable[Reading]]
"""Arguments: the opened caller, seconds to measure, seconds after which a stream is cut off."""


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    name: str
    title: str
    unit: str
    about: str
    measure: Measure


async def _repeat(call: Callable[[], Awaitable[object]], seconds: float) -> Reading:
    """One call at a time until the time is over; a tenth of it is warming up."""
    stop = clock() + seconds / 10
    while clock() < stop:
        await call()
    count = 0
    start = clock()
    stop = start + seconds
    while True:
        await call()
        count += 1
        now = clock()
        if now >= stop:
            return Reading(count / (now - start), count, now - start)


async def _one(caller: Caller, seconds: float, cut: float) -> Reading:
    check_same(PAYLOAD, await caller.echo(PAYLOAD))
    return await _repeat(lambda: caller.echo(PAYLOAD), seconds)


async def _in_flight(caller: Caller, seconds: float, cut: float) -> Reading:
    check_same(PAYLOAD, await caller.echo(PAYLOAD))
    await caller.echoes(PAYLOAD, seconds / 10, IN_FLIGHT)
    count, spent = await caller.echoes(PAYLOAD, seconds, IN_FLIGHT)
    return Reading(count / spent, count, spent)


async def _mebibyte(caller: Caller, seconds: float, cut: float) -> Reading:
    check_same(MEBIBYTE, await caller.echo_bytes(MEBIBYTE))
    return await _repeat(lambda: caller.echo_bytes(MEBIBYTE), seconds)


async def _records(caller: Caller, seconds: float, cut: float) -> Reading:
    check_same(RECORDS, await caller.echo(RECORDS))
    return await _repeat(lambda: caller.echo(RECORDS), seconds)


async def _copyables(caller: Caller, seconds: float, cut: float) -> Reading:
    points = caller.make_points(POINTS)
    check_points(await caller.echo_points(points), caller.point)
    return await _repeat(lambda: caller.echo_points(points), seconds)


async def _references(caller: Caller, seconds: float, cut: float) -> Reading:
    if await caller.swap() is None:
        raise Mismatch("no reference came back")
    await caller.swaps(seconds / 10, IN_FLIGHT)
    await _all_released(caller)
    count, spent = await caller.swaps(seconds, IN_FLIGHT)
    return Reading(count / spent, count, spent)


async def _all_released(caller: Caller) -> None:
    """Dropping is half of what this column measures: both sides must drop their exports."""
    patience = clock() + 5
    while True:
        there, here = await caller.live(), caller.live_here()
        if not there and not here:
            return
        if clock() > patience:
            raise Mismatch(f"references are not released: {there} objects left there, {here} here")
        await caller.sleep(0.02)


async def _observers(caller: Caller, seconds: float, cut: float) -> Reading:
    count = 0
    expected = UPDATES * OBSERVERS
    signal = caller.signal()

    def seen() -> None:
        nonlocal count
        count += 1
        if count == expected:
            signal.fire()

    states = await caller.subscribe(OBSERVERS, seen)
    version = 0

    async def update() -> None:
        nonlocal count, signal, version
        count = 0
        signal = caller.signal()
        await caller.publish(version + 1, UPDATES)
        await signal.wait()
        version += UPDATES

    def check() -> None:
        seen_last = [state.get("n") for state in states]
        if seen_last != [version] * OBSERVERS:
            raise Mismatch(f"observers are not where they should be: {sorted(set(map(str, seen_last)))}")

    await update()
    check()
    reading = await _repeat(update, seconds)
    check()
    return Reading(reading.rate * expected, reading.amount * expected, reading.seconds)


async def _stream(caller: Caller, seconds: float, cut: float) -> Reading:
    start = clock()
    received = await caller.stream(STREAM_BYTES, cut)
    spent = clock() - start
    if received > STREAM_BYTES or (received < STREAM_BYTES and spent < cut):
        raise Mismatch(f"{received} bytes of {STREAM_BYTES} arrived")
    return Reading(received / spent / 1e6, received, spent)


COLUMNS: Final[dict[str, Column]] = {
    column.name: column
    for column in (
        Column("one", "one call at a time", "calls/s", "a small call echoed, one after the other", _one),
        Column("inflight", f"{IN_FLIGHT} in flight", "calls/s", "the same, 200 outstanding", _in_flight),
        Column("bytes", "1 MiB echoed", "echoes/s", "1 MiB of random bytes there and back", _mebibyte),
        Column(
            "records", "1,000 records", "echoes/s", "a list of 1,000 dictionaries there and back", _records
        ),
        Column(
            "copyables",
            "1,000 Copyables",
            "echoes/s",
            "1,000 small objects by value, one message",
            _copyables,
        ),
        Column(
            "refs",
            "references swapped",
            "swaps/s",
            "a fresh reference each way, dropped; 200 open",
            _references,
        ),
        Column(
            "observers",
            f"updates to {OBSERVERS}",
            "seen/s",
            "changes of one object, 100 connections",
            _observers,
        ),
        Column("stream", "1 GiB stream", "MB/s", "1 GiB from the server in chunks of 64 KiB", _stream),
    )
}
