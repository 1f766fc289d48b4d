"""A conversation in the terminal (spec d.4). Runs on the main thread; its verbs run where the session says."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from typing import Any

from corral.runtime.errors import RunError
from corral.runtime.verbs import ChatRequest, Chunk, Message, ModelDetails
from corral.store.errors import StoreError
from corral.tui.cli.answer import Printer, print_answer, summary
from corral.tui.cli.attachments import take_images
from corral.tui.cli.entry import Assembler, EntryKind
from corral.tui.cli.errors import CommandError
from corral.tui.cli.line_input import PROMPT, Interrupted, LineInput, keys_held
from corral.tui.cli.session import Cli, Session
from corral.tui.cli.thinking import think_of
from corral.tui.control_chars import visible

EXIT_HINT = "Use Ctrl + d or /bye to exit."


@dataclass(slots=True)
class Conversation:
    """What a conversation has come to. Owned by the main thread."""

    session: Session
    model: str
    keep_alive_s: float | None = None
    wrap: bool = True
    verbose: bool = False
    think: bool | str | None = None
    hides_thinking: bool = False
    sees: bool = False
    system: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    brought: tuple[Message, ...] = ()
    """The conversation the model itself carries; the server puts it before ours."""

    def load(self, model: str) -> ModelDetails:
        """Bring a model into memory and turn to it, with nothing said yet; on an error all stays as it was."""
        details = self.session.run(self.session.client.show(model))
        request = ChatRequest(model, options=dict(self.options), keep_alive_s=self.keep_alive_s)
        self.session.run(print_answer(self.session.client.chat(request), wrap=False))
        self.model, self.brought = model, details.messages
        self.sees = "vision" in details.capabilities
        if "thinking" not in details.capabilities:
            self.think = self.think and None
        self.clear()
        return details

    def clear(self) -> None:
        """Forget what was said, but not the system message."""
        self.messages = [Message("system", self.system)] if self.system else []

    def set_system(self, text: str) -> None:
        """Say from here on who the model is; a second word in a row replaces the first."""
        self.system = text
        if self.messages and self.messages[-1].role == "system":
            self.messages.pop()
        self.messages.append(Message("system", text))

    def ask(self, text: str) -> None:
        """Send a message and print the answer. Ctrl-C ends the answer and keeps what there is of it."""
        images: tuple[bytes, ...] = ()
        if self.sees:
            try:
                text, images = take_images(text)
            except CommandError as error:
                print(f"Error: {visible(str(error))}\n", file=sys.stderr)
                return
        self.messages.append(Message("user", text, images=images))
        pieces: list[Chunk] = []
        request = ChatRequest(self.model, tuple(self.messages), dict(self.options), self.keep_alive_s, think=self.think)
        stats, failure = None, ""
        try:
            chunks = self.session.client.chat(request)
            stats = self.session.run(
                print_answer(chunks, wrap=self.wrap, take=pieces.append, hides_thinking=self.hides_thinking)
            )
        except KeyboardInterrupt:
            pass
        except (RunError, StoreError) as error:
            failure = f"Error: {visible(str(error))}"
        text = "".join(piece.text for piece in pieces)
        if text:
            self.messages.append(Message("assistant", text, "".join(piece.thinking for piece in pieces)))
        else:
            self.messages.pop()
        print("\n" if pieces else "", flush=True)
        if failure:
            print(f"{failure}\n", file=sys.stderr)
        if stats is not None and self.verbose:
            print(summary(stats), file=sys.stderr)


def converse(
    cli: Cli, session: Session, details: ModelDetails, *, keep_alive_s: float | None, flags: argparse.Namespace
) -> int:
    """Talk until Ctrl-D or /bye; returns the exit code."""
    talk = Conversation(session, details.name, keep_alive_s, not flags.nowordwrap, flags.verbose)
    talk.hides_thinking = flags.hidethinking
    talk.think = think_of(flags.think, details)
    echo(talk.load(details.name), wrap=talk.wrap)
    lines = LineInput(cli.home / ".ollama" / "history", history=not cli.settings.no_history, editor=cli.settings.editor)
    with keys_held(sys.__stdin__.fileno() if sys.__stdin__ is not None else -1):
        _listen(talk, lines)
    return 0


def _listen(talk: Conversation, lines: LineInput) -> None:
    """Take entries and answer them, until Ctrl-D or /bye."""
    from corral.tui.cli.repl_commands import execute

    assembler = Assembler()
    while True:
        try:
            entry = assembler.feed(lines.read(continued=assembler.open))
        except EOFError:
            return
        except Interrupted as interrupted:
            if interrupted.empty:
                print(f"\n{EXIT_HINT}")
            assembler.reset()
            continue
        if entry is None:
            continue
        match entry.kind:
            case EntryKind.MESSAGE:
                talk.ask(entry.text)
            case EntryKind.SYSTEM:
                talk.set_system(entry.text)
                print("Set system message.")
            case EntryKind.COMMAND if not execute(talk, lines.history, entry.text):
                return


def echo(details: ModelDetails, *, wrap: bool) -> None:
    """Show what a model brings along of a conversation, as if it had just been said."""
    for message in details.messages:
        if message.role == "user":
            print(f"{PROMPT}{visible(message.content)}")
        elif message.role == "assistant":
            Printer(sys.stdout, wrap=wrap).write(message.content)
            print("\n")
