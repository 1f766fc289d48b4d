"""`corral --plain`: the workbench as a dialogue of whole lines, for screen readers and for terminals that only print.

Nothing is drawn over, nothing moves: what happens is said once, as a line. The commands are those of the command line.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from corral.runtime.errors import RunError
from corral.runtime.snapshot import Snapshot
from corral.runtime.verbs import ChatRequest, Chunk, Client, Message, Progress
from corral.store.errors import StoreError
from corral.tui.cli.errors import CommandError, UsageError
from corral.tui.cli.human import human_bytes
from corral.tui.cli.registry import COMMANDS, find, load, parse, parser_of
from corral.tui.cli.session import Cli, Session
from corral.tui.control_chars import visible

_PROMPT, _CHAT_PROMPT = "corral> ", "you> "
_ELSEWHERE = frozenset({"serve", "attach", "help"})
_CHANGING = frozenset({"pull", "push", "create", "cp", "rm", "stop", "import"})
_STEP_PERCENT = 10
_BYE = frozenset({"quit", "exit", "q", "/bye"})


def converse(cli: Cli, host: str | None, *, is_read_only: bool = False) -> int:
    """Take lines until `quit` or the end of the input; serves meanwhile, unless `host` names another server."""
    from corral.tui.cli.service_for import service_for

    with service_for(cli, host) as (inner, greeting):
        dialogue = Dialogue(inner, is_read_only=is_read_only)
        print(f"{greeting}\nSay help for the commands, quit to leave.", flush=True)
        while dialogue.step():
            pass
    return 0


@dataclass
class Dialogue:
    """What was said so far. `read` gives the next line and raises `EOFError` at the end. Owned by the main thread."""

    cli: Cli
    is_read_only: bool = False
    read: Callable[[str], str] = lambda prompt: input(prompt)
    model: str = ""
    messages: list[Message] = field(default_factory=list)

    def step(self) -> bool:
        """Take one line and answer it; False where that ends the dialogue."""
        try:
            line = self.read(_CHAT_PROMPT if self.model else _PROMPT).strip()
        except EOFError:
            print()
            return False
        except KeyboardInterrupt:
            print("\nSay quit to leave.", flush=True)
            return True
        try:
            return self._answer(line)
        except KeyboardInterrupt:
            print("\nStopped.", flush=True)
        except (RunError, StoreError, CommandError, OSError) as error:
            print(f"Error: {visible(str(error))}", flush=True)
        return True

    def _answer(self, line: str) -> bool:
        if self.model:
            if line in _BYE:
                print(f"End of the chat with {visible(self.model)}.", flush=True)
                self.model = ""
            elif line:
                self._say(line)
            return True
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise CommandError(f"this line cannot be read: {error}") from None
        if not words:
            return True
        if words[0] in _BYE:
            return False
        self._do(words)
        return True

    def _do(self, words: list[str]) -> None:
        name, *rest = words[0].removeprefix("/"), *words[1:]  # as in Ollama's dialogue
        if self.is_read_only and name in _CHANGING:
            raise CommandError("this dialogue is read-only: it was opened with --read-only")
        match name:
            case "help" | "?":
                self._help()
            case "status":
                with self.cli.session() as session:
                    print("\n".join(_status(snapshot_of(session))), flush=True)
            case "run" | "chat":
                self._open(rest)
            case "pull" if len(rest) == 1:
                with self.cli.session() as session:
                    session.run(_tell(session.client.pull(rest[0])))
            case _ if name in _ELSEWHERE:
                raise CommandError(f"{name} is no command of this dialogue")
            case _:
                try:
                    command = find(name)
                except UsageError:
                    raise CommandError(f"there is no command {name}: help says which there are") from None
                module = load(command)
                flags = parse(command, parser_of(command, module), rest)
                module.run(self.cli, flags.arguments, flags)
                sys.stdout.flush()

    def _help(self) -> None:
        own = ("chat MODEL: talk to a model, quit ends that", "status: what runs, and what the machine does")
        others = [f"{one.usage}: {one.text}" for one in COMMANDS if one.name not in _ELSEWHERE | {"run"}]
        print("\n".join((*own, *others, "quit: leave")), flush=True)

    def _open(self, words: list[str]) -> None:
        if len(words) != 1:
            raise CommandError("this is how it goes: chat MODEL")
        with self.cli.session() as session:
            details = session.run(session.client.show(words[0]))
        self.model, self.messages = details.name, []
        print(f"Chat with {visible(details.name)}. Say quit to end it.", flush=True)

    def _say(self, text: str) -> None:
        messages = (*self.messages, Message("user", text))
        with self.cli.session() as session:
            said = session.run(_read_out(session.client, ChatRequest(self.model, messages)))
        self.messages = [*messages, Message("assistant", said)]


async def _read_out(client: Client, request: ChatRequest) -> str:
    """Print an answer line by line, as each becomes whole, and what goes with it; returns the text."""
    whole, rest, last = "", "", Chunk()
    async with aclosing(client.chat(request)) as chunks:
        async for last in chunks:
            whole += last.text
            *lines, rest = (rest + last.text).split("\n")
            for line in lines:
                print(visible(line), flush=True)
            for warning in last.warnings:
                print(f"Warning: {visible(warning)}", flush=True)
    if rest:
        print(visible(rest), flush=True)
    print("End of the answer.", flush=True)
    return whole


async def _tell(steps: AsyncGenerator[Progress, None]) -> None:
    """Say each step of a transfer once, and every tenth of its bytes."""
    told: tuple[str, int] = ("", -1)
    async with aclosing(steps) as all_steps:
        async for step in all_steps:
            tenths = step.completed * 100 // step.total // _STEP_PERCENT if step.total else 0
            if (step.status, tenths) == told:
                continue
            told = (step.status, tenths)
            amount = f", {tenths * _STEP_PERCENT} percent of {human_bytes(step.total)}" if step.total else ""
            print(f"{visible(step.status)}{amount}", flush=True)


def snapshot_of(session: Session) -> Snapshot:
    """The newest snapshot of where the verbs run."""
    from corral.api.client import HttpClient

    client = session.client
    return session.run(client.refresh()) if isinstance(client, HttpClient) else client.latest()


def _status(now: Snapshot) -> list[str]:
    """What holds, in sentences."""
    lines = [f"Serving at {now.serving}." if now.serving else "Nothing is served."]
    lines += [
        f"{visible(one.name)} is in memory: {one.state}, {one.slots_used} of {one.slots_total} slots in use."
        if one.slots_total
        else f"{visible(one.name)} is in memory."
        for one in now.models
    ] or ["No model is in memory."]
    open_rows = [row for row in now.requests if row.ended_s is None]
    lines.append(f"{len(open_rows)} requests under way, {now.waiting} waiting.")
    lines += [
        f"{visible(row.path)} for {visible(row.client)}: {row.state}, {row.output_tokens} tokens." for row in open_rows
    ]
    lines += [f"{visible(one.status)} of {visible(one.model)}." for one in now.transfers]
    host = now.host
    if host is not None:
        load = "n/a" if host.cpu_percent is None else f"{host.cpu_percent:.0f} percent"
        lines.append(
            f"CPU {load}, memory {human_bytes(host.memory_used)} of "
            f"{human_bytes(host.memory_total)}, disk {human_bytes(host.disk_free)} free."
        )
        for gpu in host.gpus:
            load = "n/a" if gpu.load_percent is None else f"{gpu.load_percent:.0f} percent"
            lines.append(f"{gpu.name}: {load}.")
    return lines
