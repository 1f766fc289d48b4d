"""The runner: `python -m corral.runtime.engine`, one process for one loaded model.

Order of messages: `Hello` once llama.cpp is imported; the parent's `Load`; `Loading` any number of times; `Loaded`, or
`LoadRefused` and the end. Then `Submit`, `Embed`, `Rank`, `Tokenize`, `Detokenize`, `Cancel`, `Pause` and `Ping` at any
time. The end of stdin ends the process.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

from corral.runtime.engine.bindings import import_bindings
from corral.runtime.engine.process import SOFTWARE_ERROR, harden, run_or_end
from corral.runtime.engine.protocol import (
    Cancel,
    Detokenize,
    Embed,
    Hello,
    Load,
    LoadRefused,
    Pause,
    Ping,
    Pong,
    Rank,
    Refused,
    Rendered,
    Submit,
    Tokenize,
)
from corral.runtime.engine.wire import FrameReader, FrameWriter, take_standard_streams

if TYPE_CHECKING:
    from corral.runtime.engine.embed import Embedder
    from corral.runtime.engine.pooler import Pooler
    from corral.runtime.engine.rank import Ranker
    from corral.runtime.engine.tokens import Tokenizer

_COMMANDS: Final = 1024
_FOR_REQUESTS: Final = "corral.runtime.engine.prepare"


def main() -> NoReturn:
    """Serve one parent until it goes."""
    reader, writer = take_standard_streams()
    harden()
    code = 0
    try:
        _serve(reader, writer)
    except BrokenPipeError:
        pass  # the parent is gone
    except BaseException:
        traceback.print_exc()
        code = SOFTWARE_ERROR
    sys.stderr.flush()
    os._exit(code)  # without waiting for a decode that runs: the kernel frees the memory sooner than we would


def _serve(reader: FrameReader, writer: FrameWriter) -> None:
    # Imported here so that the streams are taken before a library can print.
    import_bindings()
    from corral.runtime.engine.devices import Devices
    from corral.runtime.engine.llama import LoadError, start_backend
    from corral.runtime.engine.llamalog import EngineLog
    from corral.runtime.engine.loading import load_model, open_shelf
    from corral.runtime.engine.pooled import PooledContext

    log = EngineLog()
    backend = start_backend(log)
    devices = Devices()
    writer.send(Hello(os.getpid(), devices.names()))
    # llama.cpp reads a model without the interpreter, which meanwhile reads in what its requests will need.
    ahead = threading.Thread(target=import_module, args=(_FOR_REQUESTS,), name="import", daemon=True)
    ahead.start()
    load = reader.read()
    if not isinstance(load, Load):
        return
    try:
        model, context, draft_model, vision, loaded = load_model(load, log, devices, writer.send)
    except LoadError as error:
        writer.send(LoadRefused(str(error)))
        return
    ahead.join()
    from corral.runtime.engine.embed import Embedder
    from corral.runtime.engine.loop import Command, Loop
    from corral.runtime.engine.pooler import Pooler
    from corral.runtime.engine.prepare import Preparer
    from corral.runtime.engine.rank import Ranker
    from corral.runtime.engine.tokens import Tokenizer

    pooler = Pooler(model, load, log, writer.send, context if isinstance(context, PooledContext) else None)
    embedder = Embedder(model, pooler, writer.send)
    ranker = Ranker(model, pooler, writer.send)
    if isinstance(context, PooledContext):
        writer.send(loaded)
        _serve_pooled(reader, writer, pooler, embedder, ranker, Tokenizer(model, writer.send))
        return
    commands: queue.Queue[Command] = queue.Queue(_COMMANDS)
    shelf = open_shelf(load, context)
    loop = Loop(model, context, commands, writer.send, load.num_sequences, draft_model, shelf)
    preparer = Preparer(
        model, loaded.num_ctx, looks_up=draft_model is None, vision=vision, most_at_once=context.num_at_once
    )
    tokenizer = Tokenizer(model, writer.send, preparer)
    threading.Thread(target=run_or_end, args=(loop.run,), name="decode", daemon=True).start()
    writer.send(loaded)
    while (message := reader.read()) is not None:
        match message:
            case Submit():
                prepared = preparer.prepare(message)
                if isinstance(prepared, Refused | Rendered):
                    writer.send(prepared)
                else:
                    commands.put(prepared)
            case Embed():
                embedder.submit(message)
            case Rank():
                ranker.submit(message)
            case Tokenize() | Detokenize():
                tokenizer.submit(message)
            case Cancel():
                pooler.cancel(message.id)
                commands.put(message)
                loop.cancel_soon(message.id)
            case Pause() | Ping():
                commands.put(message)
            case Load():
                raise ValueError("a second Load")
    loop.stop()
    del backend  # llama.cpp calls into it until here


def _serve_pooled(
    reader: FrameReader,
    writer: FrameWriter,
    pooler: Pooler,
    embedder: Embedder,
    ranker: Ranker,
    tokenizer: Tokenizer,
) -> None:
    """Serve with a model that only embeds or ranks."""
    while (message := reader.read()) is not None:
        match message:
            case Embed():
                embedder.submit(message)
            case Rank():
                ranker.submit(message)
            case Tokenize() | Detokenize():
                tokenizer.submit(message)
            case Cancel():
                pooler.cancel(message.id)
            case Ping():
                writer.send(Pong(message.nonce))
            case Submit():
                writer.send(Refused(message.id, "bad_request", "the model does not generate text"))
            case Pause():
                pass
            case Load():
                raise ValueError("a second Load")


if __name__ == "__main__":
    main()
