"""``pb shell``: a Python prompt with a peer's root object, and ``await`` at the top level.

The prompt runs in the main thread, so that reading a line, Tab and Ctrl-C work as usual; the typed code runs in an
event loop in another thread, so that the connection stays alive while the prompt waits.
"""

from __future__ import annotations

import ast
import asyncio
import codeop
import concurrent.futures
import contextlib
import inspect
import linecache
import os
import sys
import threading
import traceback
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import CodeType, TracebackType
from typing import Annotated, Any, Final, TypeVar

from cyclopts import Parameter

from ..aio import Remote, RemoteAnswer, RemoteReference, run
from ..errors import RemoteError
from .client import ClientOptions, Url, connected
from .completing import Completing
from .helping import Explained, Help
from .output import is_output_closed, print_error, printable, show
from .status import Status, explain

__all__ = ["EXAMPLES", "shell"]

_T = TypeVar("_T")

#: The file name of the typed code in tracebacks.
_FILE: Final = "<shell>"

_HISTORY_LINES: Final = 1000


#: Shown at the end of its help.
EXAMPLES: Final = r"""
Examples:

```console
pb shell tcp://127.0.0.1:8787
>>> root.greet("world")
>>> room = await root.join("lobby")
>>> [await room.say(word) for word in ("one", "two")]
>>> help(room)
>>> async for line in root.log(): print(line)
echo 'root.greet("world")' | pb shell tcp://127.0.0.1:8787
```

Exit codes: 0 left, 1 the script met an error of the peer, 2 the script is wrong, 3 no connection, 4 no login.
"""


def shell(
    url: Annotated[Url, Parameter(help="Where the peer listens, such as tcp://127.0.0.1:8787.")],
    /,
    *,
    options: ClientOptions = ClientOptions(),  # noqa: B008 # a frozen value
) -> int:
    """Connect to a peer and talk to it from a Python prompt.

    At the prompt there are root (the peer's root object, or your perspective there), connection, pb (this
    library) and asyncio. root.greet("x") calls a method and prints its answer; within a statement, await the answer.
    Where a method has the name call or tell, or one that Python cannot write: root.call("name", "x").

    Tab completes names, those of the peer's methods too; help(root) and help(root.greet) print what the peer says of
    them. The arrow keys reach what was typed before, Ctrl-C stops what runs, Ctrl-D leaves.

    When standard input is not a terminal, it is a script: its statements run in turn, the values of expressions
    are printed, and the first error ends it.
    """
    options.prepare()
    credentials = options.credentials(url)
    with _LoopThread() as loop, contextlib.ExitStack() as stack:
        connecting = connected(url, options, credentials)
        root = loop.run(connecting.__aenter__())
        stack.callback(lambda: loop.run(connecting.__aexit__(None, None, None)))
        session = _Session(loop, root)
        stack.enter_context(session.display())
        return session.converse(url) if sys.stdin.isatty() else session.run_script(sys.stdin.read())


class _LoopThread:
    """An event loop in a thread of its own, from the beginning of a block to its end."""

    def __init__(self) -> None:
        self._started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        # A daemon, because code that blocks its loop forever must not keep the program from ending.
        self._thread = threading.Thread(target=lambda: run(self._live()), name="pb shell", daemon=True)

    async def _live(self) -> None:
        self._stopped = asyncio.Event()
        self._started.set_result(asyncio.get_running_loop())
        await self._stopped.wait()

    def __enter__(self) -> _LoopThread:
        self._thread.start()
        self._loop = self._started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine in the loop's thread and wait here for its result; Ctrl-C cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            # A Ctrl-C that comes just before a thread waits for a lock does not wake it, so look again now and then.
            while not concurrent.futures.wait([future], timeout=0.1).done:
                pass
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise


class _Session:
    """One session of the prompt: its names, and how its statements run."""

    def __init__(self, loop: _LoopThread, root: RemoteReference) -> None:
        import perspective_broker

        self._loop = loop
        self._connection = root.connection
        self.names: dict[str, Any] = {
            "__name__": "__shell__",
            "asyncio": asyncio,
            "connection": root.connection,
            "help": Help(),
            "pb": perspective_broker,
            "root": Remote(root),
        }
        self._typed = 0
        self._awaited: list[RemoteAnswer | Explained] = []  # values of expressions that are to come

    # -- running

    def execute(self, code: CodeType) -> BaseException | None:
        """Run compiled code in the event loop; return its exception."""
        return self._loop.run(self._executed(code))

    async def _executed(self, code: CodeType) -> BaseException | None:
        """Run code and return its exception, because a SystemExit raised by this task would end the loop."""
        try:
            result = eval(code, self.names)
            if code.co_flags & inspect.CO_COROUTINE:
                await result
            while self._awaited:
                sys.displayhook(await self._awaited.pop(0))
        except BaseException as error:
            self._awaited.clear()
            return error
        return None

    @contextlib.contextmanager
    def display(self) -> Iterator[None]:
        """Show the values of expressions by :func:`show` within the block, and keep the last one as ``_``.

        That of a call of the peer is its answer.
        """

        def hook(value: object) -> None:
            if isinstance(value, (RemoteAnswer, Explained)):
                self._awaited.append(value)
            elif value is not None:
                self.names["_"] = value
                # Python shows text at its prompt with quotes; here too, so that "1" and 1 differ.
                print(repr(value)) if type(value) is str else show(value)

        before, sys.displayhook = sys.displayhook, hook
        try:
            yield
        finally:
            sys.displayhook = before

    # -- a script

    def run_script(self, source: str) -> int:
        """Run statement after statement until one fails; return the exit code."""
        try:
            statements = ast.parse(source, _FILE).body
            codes = [
                compile(ast.Interactive([statement]), _FILE, "single", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                for statement in statements
            ]
        except SyntaxError as wrong:
            print_error("pb", f"line {wrong.lineno}: {wrong.msg}")
            return Status.USAGE
        for statement, code in zip(statements, codes, strict=True):
            error = self.execute(code)
            if isinstance(error, SystemExit):
                return _exit_code(error)
            if isinstance(error, BrokenPipeError) and is_output_closed():
                raise error
            if error is not None:
                status, text = explain(error) or (
                    Status.USAGE,
                    printable(f"{type(error).__name__}: {error}"),
                )
                print_error("pb", f"line {statement.lineno}: {text}")
                return status
        return Status.OK

    # -- a terminal

    def converse(self, url: str) -> int:
        """Read, run and print until the user leaves; return the exit code."""
        print(f"connected to {url} ({self._connection.dialect}); it is called root, Ctrl-D leaves")
        print('>>> root.name("argument", keyword=1)    # for example; see help(root)')
        compiler = codeop.CommandCompiler()
        compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        lines: list[str] = []
        with _line_editing(Completing(self.names, self._loop.run)):
            while True:
                try:
                    lines.append(input("... " if lines else ">>> "))
                    code = compiler("\n".join(lines), self._file(lines), "single")
                    if code is None:
                        continue  # an unfinished statement
                    lines = []
                    error = self.execute(code)
                    if isinstance(error, SystemExit):
                        return _exit_code(error)
                    if error is not None:
                        _report(error)
                except EOFError:
                    print()
                    return Status.OK
                except KeyboardInterrupt:
                    print("\ninterrupted")
                    lines = []
                except (SyntaxError, ValueError, OverflowError) as wrong:
                    lines = []
                    print("".join(traceback.format_exception_only(wrong)), end="")

    def _file(self, lines: list[str]) -> str:
        """Give what is being typed a name under which tracebacks find its source."""
        if len(lines) == 1:
            self._typed += 1
        name = f"<shell {self._typed}>"
        source = [line + "\n" for line in lines]
        linecache.cache[name] = (sum(map(len, source)), None, source, name)
        return name


def _report(error: BaseException) -> None:
    """Show an error at the prompt: one line when it is expected, otherwise the traceback in the typed code."""
    explained = explain(error)
    if explained is not None:
        kind, text = type(error).__name__, explained[1]
        if isinstance(error, RemoteError):  # it may be a ValueError as well, which has a class of its own
            kind = RemoteError.__name__
        # Of an error that the peer reports the text begins with its name, which may be the name of its class here.
        named = text.partition(": ")[0].rpartition(".")[2] == kind
        print(text if named else f"{kind}: {text}")
        if isinstance(error, RemoteError) and error.traceback:
            print(printable(error.traceback, keep="\n\t"), end="")
        return
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<shell "):
        trace = trace.tb_next  # frames of this library do not help the user
    print("".join(traceback.format_exception(type(error), error, trace)), end="")


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or Status.OK
    print_error("pb", str(error.code))
    return Status.REMOTE


@contextlib.contextmanager
def _line_editing(completing: Completing) -> Iterator[None]:
    """Within the block, provide completion by Tab and the history of lines, if readline exists."""
    try:
        import readline
    except ImportError:
        yield
        return
    readline.set_completer(completing.complete)
    # macOS has another line editor under the same name, with other commands.
    editline = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if editline else "tab: complete")
    history = _history_file()
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    try:
        yield
    finally:
        readline.set_history_length(_HISTORY_LINES)
        with contextlib.suppress(OSError):
            history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            history.touch(mode=0o600)  # the typed lines may be private
            readline.write_history_file(history)


def _history_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state, "perspective-broker", "shell_history")
