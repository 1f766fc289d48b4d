"""`corral create MODEL -f FILE`."""

from __future__ import annotations

import argparse
import os
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
    parser.add_argument("-f", "--file", metavar="FILE", default="", help='Name of the Modelfile (default "Modelfile")')


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Read the Modelfile, send what it names, and make the model."""
    from corral.runtime.recipe import create_from_modelfile, request_from_modelfile
    from corral.runtime.server_address import is_loopback
    from corral.store.modelfile import parse

    path = Path(flags.file or "Modelfile").expanduser()
    folder = path.parent.absolute()
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
        CommandError: it is not there, or no file of text: a pipe or device could be read for ever.
    """
    try:
        # Opened before it is looked at, so that what was looked at is what is read; a pipe must not block the opening.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise CommandError(f"{path} is not a regular file")
            if status.st_size > _LARGEST:
                raise CommandError(f"{path} is too large for a Modelfile")
            with open(handle, "rb", closefd=False) as file:
                return file.read(_LARGEST)
        finally:
            os.close(handle)
    except FileNotFoundError:
        if required:
            raise CommandError("specified Modelfile wasn't found") from None
        return _HERE
