"""The command line: `main()` is the console script, the place where everything is put together.

Kept light: what a command needs is imported when that command is called (spec: `corral --version` within 150 ms).
"""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corral.runtime.settings import Settings
    from corral.tui.cli.session import Session

_INTERRUPTED = 130
_BROKEN_PIPE = 141


def main(
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    connect: Callable[[Settings], Session] | None = None,
) -> int:
    """Run one command; returns the exit code. `connect` stands in for the way to a server in tests."""
    environ = os.environ if environ is None else environ
    _prepare_streams()
    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv), environ, connect)
        sys.stdout.flush()
        if argv is None:
            gc.freeze()  # the process ends: to look for what could be freed takes a tenth of a short command's time
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _silence(sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:
        return _report(error, environ)
    return code


def _dispatch(
    words: list[str], environ: Mapping[str, str], connect: Callable[[Settings], Session] | None = None
) -> int:
    if words and words[0] in {"-v", "--version"}:
        from corral.tui.cli.version import print_version

        return print_version(environ)
    if words and words[0] in {"-h", "--help"}:
        from corral.tui.cli.help import describe_all

        print(describe_all(), end="")
        return 0
    is_workbench = not words or words[0].startswith("-")
    if is_workbench:
        from corral.tui.cli.late import put_off

        put_off()
    from corral.tui.cli.interrupts import held_back

    # What modules make stays: walking it while they are imported takes a tenth of a short command's time.
    gc.disable()
    with held_back():
        from corral.tui.cli.registry import WORKBENCH, find, load, parse, parser_of
        from corral.tui.cli.session import Cli

        command = WORKBENCH if is_workbench else find(words.pop(0))
        module = load(command)
    gc.enable()
    flags = parse(command, parser_of(command, module), words)
    if flags.help:
        from corral.tui.cli.help import describe, describe_all

        print(describe(command) if command.name else describe_all(), end="")
        return 0
    return module.run(Cli.from_environment(environ, connect), flags.arguments, flags)


def _report(error: Exception, environ: Mapping[str, str]) -> int:
    """Say in one line what went wrong. What nobody foresaw is named as such; CORRAL_DEBUG shows where it happened."""
    from corral.runtime.errors import RunError
    from corral.store.errors import StoreError
    from corral.tui.cli.errors import CommandError
    from corral.tui.control_chars import one_line, visible

    if environ.get("CORRAL_DEBUG", "0") not in {"", "0"}:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, (RunError, StoreError, CommandError)):
        text = str(error)
    elif isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    else:
        text = f"internal error: {type(error).__name__}: {error} (CORRAL_DEBUG=1 shows where)"
    print(f"Error: {one_line(text)}", file=sys.stderr)
    if isinstance(error, CommandError) and error.hint:
        print(visible(error.hint), file=sys.stderr)
    return 1


def _prepare_streams() -> None:
    """Make sure that printing never fails: a closed stream swallows, what a locale cannot say becomes a sign."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - it lives as long as we do
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _silence(descriptor: int) -> None:
    """Point a broken stdout at nothing, so that the interpreter's last flush does not complain."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
