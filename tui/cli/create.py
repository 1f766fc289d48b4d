"""`corral create MODEL -f FILE`."""

from __future__ import annotations

import argparse
import os
import select
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

from corral.tui.cli.errors import CommandError
from corral.tui.cli.progress import follow
from corral.tui.cli.session import Cli

_LARGEST = 16 << 20
"""Bytes. A Modelfile is text a person wrote; more than this is the wrong file."""
_HERE = b"FROM ."
_STDIN = "-"
_AT_ONCE = 1 << 20


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where the Modelfile is."""
    parser.add_argument(
        "-q", "--quantize", metavar="TYPE", default="", help="Quantize the weights to this type, as q4_K_M"
    )
    parser.add_argument(
        "--draft-quantize", metavar="TYPE", default="", help="Quantize the draft model's weights to this type"
    )
    parser.add_argument(
        "--imatrix", metavar="FILE", default="", help="An importance matrix to quantize with, in GGUF form"
    )
    parser.add_argument(
        "-f",
        "--file",
        metavar="FILE",
        default="",
        help='Name of the Modelfile, "-" for standard input (default "Modelfile")',
    )


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Read the Modelfile, send what it names, and make the model."""
    from corral.runtime.recipe import create_from_modelfile, request_from_modelfile
    from corral.runtime.server_address import is_loopback
    from corral.store.modelfile import parse

    path = Path(flags.file or "Modelfile").expanduser()
    # What comes through a pipe lies in no folder, and a device's is none of its own: paths are from where we are.
    folder = path.parent.absolute() if path.is_file() and path.parts[:2] != ("/", "dev") else Path.cwd()
    modelfile = parse(read(path, required=bool(flags.file)))
    request_from_modelfile(arguments[0], modelfile, folder)  # a mistake is told before anything is started
    imatrix = Path(flags.imatrix).expanduser().absolute() if flags.imatrix else None
    if imatrix is not None and not imatrix.is_file():
        raise CommandError(f"{flags.imatrix} is not a regular file")
    near = is_loopback(urlsplit(cli.settings.base_url).hostname or "")
    with cli.session() as session:
        steps = create_from_modelfile(
            session.client,
            arguments[0],
            modelfile,
            folder,
            quantize=flags.quantize,
            draft_quantize=flags.draft_quantize,
            imatrix=imatrix,
            store=cli.settings.models if session.own or near else None,
            remotes=cli.settings.remotes_file if session.own or near else None,
        )
        session.run(follow(steps, sys.stderr))
    return 0


def read(path: Path, *, required: bool) -> bytes:
    """Return the Modelfile's bytes; without one that was asked for, the folder itself is the model.

    Raises:
        CommandError: it is not there, or no text: a device could be read for ever.
    """
    try:
        # Opened before it is looked at, so that what was looked at is what is read.
        handle = os.dup(0) if str(path) == _STDIN else os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            mode = os.fstat(handle).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or os.isatty(handle)):
                raise CommandError(f"{path} is not a regular file")
            text = bytearray()
            while data := _read_some(handle, waits=not stat.S_ISREG(mode)):
                text += data
                if len(text) > _LARGEST:
                    raise CommandError(f"{path} is too large for a Modelfile")
            return bytes(text)
        finally:
            os.close(handle)
    except FileNotFoundError:
        if required:
            raise CommandError("specified Modelfile wasn't found") from None
        return _HERE


def _read_some(handle: int, *, waits: bool) -> bytes:
    """Return the next bytes; of a pipe that nobody has opened to write yet, once somebody has."""
    while True:
        if waits and sys.platform != "win32":
            select.select([handle], [], [])
        try:
            return os.read(handle, _AT_ONCE)
        except BlockingIOError:
            continue
