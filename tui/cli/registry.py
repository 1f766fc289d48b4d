"""Which commands there are, in the order `corral help` lists them. Their modules are imported only when one is called:
an import of all of them would cost more than `corral list` may take.
"""

from __future__ import annotations

import argparse
import importlib
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol, cast

from corral.tui.cli.errors import UsageError

if TYPE_CHECKING:
    from corral.tui.cli.session import Cli

_SERVER = (
    "HOST",
    "PORT",
    "CONFIG",
    "MODELS",
    "KEEP_ALIVE",
    "CONTEXT_LENGTH",
    "NUM_PARALLEL",
    "MAX_LOADED_MODELS",
    "MAX_QUEUE",
)
_ELSEWHERE = ("MODELS_EXTRA", "DISCOVER", "GGUF_FOLDERS", "ALIASES")
_SERVER_TOO = (
    *_ELSEWHERE,
    "LOAD_TIMEOUT",
    "ORIGINS",
    "FLASH_ATTENTION",
    "KV_CACHE_TYPE",
    "GPU_OVERHEAD",
    "GO_TEMPLATE",
    "NOPRUNE",
    "TRASH",
    "REGISTRY",
    "MIRRORS",
    "LIMIT_RATE",
    "PROMPT_CACHE",
    "DEBUG",
    "LOG_FORMAT",
    "DEBUG_LOG_REQUESTS",
    "STRICT",
    "READ_ONLY",
    "NO_CLOUD",
    "API_KEY",
    "REMOTES",
    "REMOTE_KEYS",
    "RPC_SERVERS",
    "TLS_CERT",
    "TLS_KEY",
    "TLS_CA",
)
_LOADING = (
    *("SCHED_SPREAD", "NUM_BATCH", "NUM_UBATCH", "NUM_THREAD", "NUM_THREAD_BATCH", "USE_MMAP", "USE_MLOCK"),
    *("USE_DIRECT_IO", "NUM_GPU", "MAIN_GPU", "SPLIT_MODE", "TENSOR_SPLIT", "OVERRIDE_TENSOR", "NUM_CPU_MOE"),
)


_FETCHING = ("HOST", "MODELS", "REGISTRY", "MIRRORS", "LIMIT_RATE")


class Command(NamedTuple):
    """A command: `usage` after the program's name, how many arguments it takes (-1: no limit), what it reads."""

    name: str
    module: str
    usage: str
    text: str
    least: int
    most: int
    variables: tuple[str, ...] = ("HOST", "MODELS")
    aliases: tuple[str, ...] = ()


class CommandModule(Protocol):
    """What the module of a command holds."""

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """Declare the flags."""

    def run(self, cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
        """Do it; returns the exit code."""


COMMANDS = (
    Command(
        "serve",
        "serve",
        "serve",
        "Start the server without a screen",
        0,
        0,
        (*_SERVER, *_SERVER_TOO, "ALLOW_ANONYMOUS", *_LOADING),
        ("start",),
    ),
    Command("attach", "attach", "attach [URL]", "Show the workbench of a server that runs", 0, 1, ("HOST", "API_KEY")),
    Command("web", "web", "web [URL]", "Show the workbench in a browser", 0, 1, (*_SERVER, *_SERVER_TOO)),
    Command("create", "create", "create MODEL", "Create a model from a Modelfile", 1, 1),
    Command("show", "show", "show MODEL", "Show information for a model", 1, 1),
    Command(
        "run",
        "run",
        "run MODEL [PROMPT...]",
        "Run a model",
        1,
        -1,
        ("HOST", "MODELS", "KEEP_ALIVE", "NOHISTORY", "EDITOR"),
    ),
    Command(
        "load", "load", "load MODEL [MODEL...]", "Bring models into a server's memory", 1, -1, ("HOST", "KEEP_ALIVE")
    ),
    Command("stop", "stop", "stop MODEL", "Stop a running model, or all", 0, 1),
    Command("pull", "pull", "pull MODEL", "Fetch a model from a registry or a package", 1, 1, _FETCHING),
    Command("push", "push", "push MODEL", "Send a model to a registry", 1, 1, ("HOST", "MODELS", "REGISTRY")),
    Command("list", "list_models", "list [PREFIX]", "List models", 0, 1, ("HOST", "MODELS", *_ELSEWHERE), ("ls",)),
    Command("ps", "ps", "ps [PREFIX]", "List running models", 0, 1),
    Command("cp", "cp", "cp SOURCE DESTINATION", "Copy a model", 2, 2),
    Command("rm", "rm", "rm MODEL [MODEL...]", "Remove models", 1, -1),
    Command("verify", "verify", "verify [MODEL...]", "Check models on disk for damage", 0, -1),
    Command("export", "export", "export MODEL FILE", "Write a model to one file", 2, 2, ("MODELS",)),
    Command("import", "import_model", "import FILE [MODEL]", "Read a model from such a file", 1, 2, ("MODELS",)),
    Command(
        "config",
        "config",
        "config [path | check [FILE] | reload]",
        "Show the settings",
        0,
        2,
        ("CONFIG", "HOST", "MODELS"),
    ),
    Command(
        "doctor",
        "doctor",
        "doctor",
        "Check terminal, settings, server, machine and models",
        0,
        0,
        ("HOST", "CONFIG", "MODELS"),
    ),
    Command("help", "help", "help [COMMAND]", "Help about a command", 0, 1, ()),
)

_ALONE = {"--think": "--think=true", "--truncate": "--truncate=true"}
"""Flags whose value may be left out; argparse would take the next word for it."""

WORKBENCH = Command("", "workbench", "[COMMAND]", "", 0, 0, (*_SERVER, *_SERVER_TOO, "NOHISTORY"))
"""What `corral` alone does: it opens the workbench."""


def find(name: str) -> Command:
    """Return the command of that name or alias.

    Raises:
        UsageError: there is none.
    """
    for command in COMMANDS:
        if name == command.name or name in command.aliases:
            return command
    raise UsageError(f'unknown command "{name}" for "corral"', hint="Run 'corral --help' for usage.")


def load(command: Command) -> CommandModule:
    """Import the module of a command."""
    return cast(CommandModule, importlib.import_module(f"corral.tui.cli.{command.module}"))


class _Parser(argparse.ArgumentParser):
    """Reports as one line and an exit code of 1, like everything else, instead of argparse's 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parser_of(command: Command, module: CommandModule) -> argparse.ArgumentParser:
    """Build the parser of one command."""
    program = f"corral {command.name}".strip()
    # argparse makes formatters to check flags with; one that asks for the terminal's width reads in what archives need.
    checking = partial(argparse.HelpFormatter, width=80)
    parser = _Parser(
        prog=program, add_help=False, allow_abbrev=False, usage=argparse.SUPPRESS, formatter_class=checking
    )
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    module.add_flags(parser)
    parser.add_argument("-h", "--help", action="store_true", help=f"Help for {program}")
    return parser


def parse(command: Command, parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """Read a command's flags and arguments, which may stand in any order; after `--` everything is an argument.

    Raises:
        UsageError: an unknown flag, or too few or too many arguments.
    """
    split = words.index("--") if "--" in words else len(words)
    flags, rest = parser.parse_known_intermixed_args([_ALONE.get(word, word) for word in words[:split]])
    unknown = next((word for word in rest if word.startswith("-")), None)
    if unknown is not None:
        kind = "unknown flag" if unknown.startswith("--") else "unknown shorthand flag"
        raise UsageError(f"{kind}: {unknown.split('=')[0]}")
    flags.arguments = [*flags.arguments, *rest, *words[split + 1 :]]
    if not flags.help:
        _check_count(command, len(flags.arguments))
    return flags


def _check_count(command: Command, count: int) -> None:
    if command.least <= count and (command.most < 0 or count <= command.most):
        return
    if command.most < 0:
        raise UsageError(f"requires at least {command.least} arg(s), only received {count}")
    if command.least == command.most:
        raise UsageError(f"accepts {command.most} arg(s), received {count}")
    raise UsageError(f"accepts at most {command.most} arg(s), received {count}")
