"""`corral help [COMMAND]` and every `--help`."""

from __future__ import annotations

import argparse

from corral.tui.cli.registry import COMMANDS, WORKBENCH, Command, find, load, parser_of
from corral.tui.cli.session import Cli


def add_flags(parser: argparse.ArgumentParser) -> None:
    """No flags of its own."""


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Print the help of one command, or of all."""
    print(describe(find(arguments[0])) if arguments else describe_all(), end="")
    return 0


def describe_all() -> str:
    """The text of `corral --help`."""
    rows = "".join(f"  {command.name:<10}  {command.text}\n" for command in COMMANDS)
    return (
        "A workbench for local language models, and an Ollama-compatible server.\n\n"
        "Usage:\n  corral             Open the workbench\n  corral COMMAND     Do one thing and return\n\n"
        f"Available Commands:\n{rows}\n{_flags(WORKBENCH)}"
        "  -v, --version  Show version information\n\n"
        'Use "corral COMMAND --help" for more information about a command.\n\n' + _environment(WORKBENCH)
    )


def describe(command: Command) -> str:
    """The text of one command's `--help`."""
    aliases = f"\nAliases:\n  {', '.join((command.name, *command.aliases))}\n" if command.aliases else ""
    usage = f"Usage:\n  corral {command.usage} [flags]\n"
    return f"{command.text}\n\n{usage}{aliases}\n{_flags(command)}\n{_environment(command)}".rstrip("\n") + "\n"


def _flags(command: Command) -> str:
    parser = parser_of(command, load(command))
    parser.formatter_class = argparse.HelpFormatter  # as wide as the terminal
    text = parser.format_help()
    return "Flags:\n" + text.partition("options:\n")[2]


def _environment(command: Command) -> str:
    """The block of spec d.5: the name padded to 27, then what it does."""
    if not command.variables:
        return ""
    from corral.runtime.variables import VARIABLES, described

    rows = (
        f"      {'CORRAL_' + variable.name:<27}{described(variable)}\n"
        for variable in VARIABLES
        if variable.name in command.variables
    )
    note = (
        "      Each is read as OLLAMA_... too unless it says otherwise; CORRAL_... wins.\n"
        "      What no variable says may be said in a file; see corral config --help.\n"
    )
    return "Environment Variables:\n" + "".join(rows) + note
