"""Random programs: what an end does with the references and promises that it has.

A method waits only for calls that it made itself, so the promises of one program are never given to another.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from random import Random
from typing import Any, Final

import perspective_broker as pb
from tests.lives.arguments import GIVE_OBJECTS, Arguments
from tests.lives.ends import End, items, wrong_items
from tests.lives.history import Call, Outcome
from tests.lives.values import (
    Streamed,
    crosses,
    parts,
    things,
    words,
)

__all__ = ["Program", "run_nested"]


#: The actions of a program, and their frequencies: methods of :class:`Program`.
_ACTIONS: Final = {
    "call": 30,
    "tell": 8,
    "pause": 8,
    "wait": 6,
    "cancel": 3,
    "drop": 4,
    "change": 5,
    "collect": 1,
    "read_stream": 2,
    "send_stream": 2,
    "call_with_deadline": 2,
}

#: Actions of a main program only: no other code uses the references that it releases by hand, and it waits for locks.
_MAIN_ACTIONS: Final = {"release": 2, "hold": 2}


class Program:
    """One program at one end.

    Args:
        end: where it runs.
        random: decides.
        depth: how deep what it calls may call back.
        main: whether it is the end's main program, which may wait for anything; else it runs in a method.
    """

    def __init__(self, end: End, random: Random, depth: int, *, main: bool = False) -> None:
        self._end = end
        self._history = end.history
        self._random = random
        self._depth = depth
        self._promises: list[tuple[pb.Promise, Call]] = []
        self._arguments = Arguments(end, random, self._promises, self._call)
        self._actions = _ACTIONS | _MAIN_ACTIONS if main else _ACTIONS

    async def run(self, steps: int) -> None:
        """Take so many steps, then wait until every call has ended."""
        names, weights = list(self._actions), list(self._actions.values())
        try:
            for _ in range(steps):
                if self._end.over:
                    break
                (name,) = self._random.choices(names, weights)
                waits = getattr(self, f"_{name}")()
                if waits is not None:
                    await waits
            while self._promises:
                promise, _ = self._promises.pop()
                if not promise.done():
                    await asyncio.gather(asyncio.shield(promise), return_exceptions=True)
        except asyncio.CancelledError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """The method that this program is has been cancelled: cancel its calls, or let them go on alone."""
        for promise, call in self._promises:
            if not promise.done() and self._random.random() < 0.7:
                self._cancel_one(promise, call)

    # -- calls

    def _call(self) -> None:
        self._draw(one_way=False)

    async def _tell(self) -> None:
        target = self._draw(one_way=True)
        if self._random.random() < 0.3 and isinstance(target, pb.RemoteReference):
            with contextlib.suppress(pb.DeadReferenceError):
                await target.connection.room

    def _draw(self, *, one_way: bool) -> Any:
        """Call a random method of something; return what was called."""
        target, description = self._target()
        if target is not None:
            callee = description.callee if isinstance(description, Call) else description.end
            self._send(target, description, *self._arguments.draw(callee, self._depth), one_way=one_way)
        return target

    def _send(
        self,
        target: Any,
        description: Any,
        method: str,
        args: list[Any],
        descriptions: list[Any],
        *,
        one_way: bool = False,
    ) -> pb.Promise | None:
        """Make one call; return its promise, or None without one."""
        history, end = self._history, self._end
        if end.over or len(history.calls) >= history.most:
            return None
        call = self._record(description, method, descriptions, one_way)
        try:
            if one_way:
                target.tell(method, call.serial, *args)
                return None
            promise: pb.Promise = target.call(method, call.serial, *args)
        except Exception as error:
            call.refused = True
            history.settle(call, _outcome_of(error))
            return None
        promise.add_done_callback(lambda settled: self._settled(settled, call))
        self._promises.append((promise, call))
        return promise

    def _record(self, target: Any, method: str, args: list[Any], one_way: bool) -> Call:
        """Record a call that is about to be made, and what its caller knows now."""
        history, name = self._history, self._end.name
        for promise, made in self._promises:
            if promise.done():
                history.learn(made)
        uses = tuple(dict.fromkeys(part for part in parts((target, args)) if isinstance(part, Call)))
        call = Call(
            len(history.calls) + 1,
            name,
            target.callee if isinstance(target, Call) else target.end,
            method,
            target,
            tuple(args),
            uses,
            frozenset(part for part in parts(args) if isinstance(part, Call)),
            frozenset(used for used in uses if used.known is None),
            one_way=one_way,
            forwards=history.forwards,
            limited=pb.remaining() is not None,
            odd=not crosses((target, args)),
            things=frozenset(things((target, args))),
        )
        verb = "tells" if one_way else "calls"
        history.make(call, f"{name} {verb} {words(target)}.{method}({words(args)[1:-1]}) as {call.serial}")
        return call

    def _settled(self, promise: asyncio.Future[Any], call: Call) -> None:
        if promise.cancelled():
            outcome = Outcome(error=("CancelledError",))
        elif (error := promise.exception()) is not None:
            outcome = _outcome_of(error)
        else:
            value = promise.result()
            # The return value of an object of our own is the object's own value, which may have changed since.
            mismatch = "" if call.came_home else self._end.objects.mismatch(call, value)
            outcome = Outcome(mismatch)
            if not mismatch and call.method != "slow_hold":
                self._end.keep(call, value)
        self._history.settle(call, outcome)

    def _target(self) -> tuple[Any, Any]:
        """Return something that can be called, and its description."""
        promises = [(promise, call) for promise, call in self._promises if call.method in GIVE_OBJECTS]
        if promises and self._random.random() < 0.45:
            return self._random.choice(promises[-6:])
        return self._random.choice(self._end.pool) if self._end.pool else (None, None)

    # -- what else a program does

    async def _pause(self) -> None:
        turns = self._random.randrange(12)
        if turns > 8:
            await asyncio.sleep(turns / 1000)
        for _ in range(turns):
            await asyncio.sleep(0)

    async def _wait(self) -> None:
        """Await a promise, as a program does; when this is cancelled the call is cancelled as well."""
        waiting = [(promise, call) for promise, call in self._promises if not promise.done()]
        if not waiting:
            return
        promise, call = self._random.choice(waiting)
        await self._await(promise, call)

    async def _await(self, promise: pb.Promise, call: Call) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await promise
        except asyncio.CancelledError:
            if task.cancelling():
                call.given_up = True
                raise
        except Exception:
            pass  # the history has it

    def _cancel(self) -> None:
        waiting = [(promise, call) for promise, call in self._promises if not promise.done()]
        if waiting:
            self._cancel_one(*self._random.choice(waiting))

    def _cancel_one(self, promise: pb.Promise, call: Call) -> None:
        self._history.note(f"{self._end.name} cancels {call.serial}")
        call.given_up = True
        promise.cancel()

    def _drop(self) -> None:
        """Drop references, promises, objects and replicas."""
        for kept in (self._end.pool, self._promises, self._end.nodes, self._end.replicas):
            if len(kept) > 1 and self._random.random() < 0.5:
                place = self._random.randrange(1, len(kept))
                if kept is not self._promises or self._promises[place][0].done():
                    del kept[place]

    def _release(self) -> None:
        """Give a reference back by hand."""
        pool = self._end.pool
        if len(pool) < 2:
            return
        reference, thing = self._random.choice(pool[1:])
        if thing == pool[0][1]:
            return
        pool[:] = [(other, what) for other, what in pool if what != thing]
        self._history.note(f"{self._end.name} releases {thing}")
        self._history.released.add(thing)
        self._end.objects.released(thing, reference)
        try:
            reference.release()
        except pb.DeadReferenceError:
            pass

    def _change(self) -> None:
        """Change something that the other end may have a replica of."""
        if self._end.counters:
            self._random.choice(self._end.counters).change()

    def _collect(self) -> None:
        gc.collect()

    def _hold(self) -> None:
        """Get the other end's lock, in a task of its own, and drop it a little later."""
        if self._end.pool:
            target, description = self._end.pool[0]
            promise = self._send(target, description, "slow_hold", [], [])
            if promise is not None:
                _, call = self._promises.pop()  # no other call mentions it, so it can be dropped any time
                self._end.tasks.append(asyncio.create_task(self._hold_for(promise, call)))

    async def _hold_for(self, promise: pb.Promise, call: Call) -> None:
        await self._await(promise, call)
        await asyncio.sleep(self._random.randrange(5) / 1000)

    async def _read_stream(self) -> None:
        """Read a stream of the other end's, perhaps not to its end."""
        if not self._end.pool:
            return
        target, description = self._random.choice(self._end.pool)
        number, leave_after = self._random.choice((0, 1, 5, 40)), self._random.choice((0, 0, 1, 3))
        promise = self._send(target, description, "count", [number], [number])
        if promise is None:
            return
        _, call = self._promises.pop()
        received: list[Any] = []
        problem = ""
        call.reading = True
        try:
            async for item in promise:
                received.append(item)
                if len(received) == leave_after:
                    break
            else:
                problem = "" if len(received) == number else f"{len(received)} items of {number}"
        except asyncio.CancelledError:
            call.given_up = True
            raise
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        finally:
            call.reading = False
        history = self._history
        excused = call.limited or history.ended is not None or history.released.intersection(call.mentions())
        if wrong := wrong_items(received):
            history.find("stream", f"{call}: {wrong}")
        elif problem and not excused:
            history.find("stream", f"{call}: {problem}")

    def _send_stream(self) -> None:
        if self._end.pool:
            target, description = self._random.choice(self._end.pool)
            number, leave_after = self._random.choice((0, 1, 5, 40)), self._random.choice((0, 0, 1, 3))
            stream = items(self._end, number)
            self._send(
                target, description, "slow_absorb", [leave_after, stream], [leave_after, Streamed(number)]
            )

    async def _call_with_deadline(self) -> None:
        """Make some calls in a block with a deadline, which may pass before they end."""
        begun = len(self._promises)
        try:
            async with pb.deadline(self._random.choice((0.001, 0.01, 0.1, 10))):
                for _ in range(self._random.randrange(1, 3)):
                    self._call()
                for promise, call in self._promises[begun:]:
                    await self._await(promise, call)
        except TimeoutError:
            pass


def _outcome_of(error: BaseException) -> Outcome:
    # Not the exception itself: its traceback would keep references alive.
    names = tuple(kind.__name__ for kind in type(error).__mro__)
    return Outcome(error=names, text=str(error), ran=getattr(error, "ran", None))


async def run_nested(end: End, random: Random, depth: int, steps: int) -> None:
    """Run a program within a method of ``end``."""
    await Program(end, random, depth).run(steps)
