"""Rewriting the weights of a model: other types for its tensors, one file out of parts. In a child process.

llama.cpp's quantizer aborts on some files and takes much memory; in a child that costs the job and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from corral.runtime.engine.quantize import Job, Report
from corral.runtime.errors import BadRequest, QuantizeFailed
from corral.runtime.runner import runner_environment
from corral.runtime.verbs import Progress
from corral.store.blobs import Blob, BlobStore
from corral.store.errors import NotGguf
from corral.store.gguf import GgufHeader, read_header
from corral.store.gguf_types import FILE_TYPES
from corral.store.names import Digest
from corral.store.scratch import scratch_folder

NO_DIGEST = "0000000000000000000"
"""What Ollama's progress lines name a file by whose digest is not known yet (spec a.18)."""
UNQUANTIZED = ("F16", "BF16", "F32")

_SIGKILL = 9  # Windows has no name for it
_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
_BITS = {"F32": 32.0, "F16": 16.0, "BF16": 16.0}
_MORE_THAN_NAMED = 1.5  # bits a weight for scales, and for the tensors a mix keeps finer than its name says
_BY_NAME = {name: number for number, name in FILE_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's weights in the store: one file, or the parts of a split in their order, each with its header."""

    parts: tuple[tuple[Digest, GgufHeader], ...]

    @property
    def header(self) -> GgufHeader:
        """What the first part says; it has the metadata of the whole."""
        return self.parts[0][1]

    @property
    def tensor_count(self) -> int:
        """Tensors of all parts."""
        return sum(len(header.tensors) for _, header in self.parts)


def quantization_of(text: str) -> str:
    """The type a request means, in any case, as `Q4_K_M`.

    Raises:
        BadRequest: llama.cpp has none of that name.
    """
    name = _ALIASES.get(text.upper(), text.upper())
    if name not in _BY_NAME:
        types = ", ".join(FILE_TYPES.values())
        raise BadRequest(f"unsupported quantization type {name} - supported types are {types}")
    return name


async def rewrite(
    blobs: BlobStore, weights: Weights, status: str, quantization: str = "", imatrix: Digest | None = None
) -> AsyncGenerator[Progress | Blob, None]:
    """Write weights anew as one file of the store: in another type, or only put together where none is named.

    Yields how far it is, under `status`, and at last the blob. Closed early it leaves nothing behind.

    Raises:
        QuantizeFailed: the quantizer failed, or what it made is not what was asked for.
        NoSpace, StoreError: the store cannot take it.
    """
    total = sum(tensor.size for _, header in weights.parts for tensor in header.tensors)
    sizes = {tensor.name: tensor.size for _, header in weights.parts for tensor in header.tensors}
    expected = _expected_bytes(weights, quantization)
    with scratch_folder(blobs.paths.root) as folder, blobs.writer(size=expected) as writer:
        target = writer.staged()
        job = Job(
            source=str(_arrange(blobs, weights, folder)),
            target=str(target),
            file_type=_BY_NAME[quantization] if quantization else None,
            imatrix=str(blobs.path(imatrix)) if imatrix else "",
        )
        yield Progress(status, NO_DIGEST, total, 0)
        done = last = 0
        async with contextlib.aclosing(_run(job)) as reports:
            async for tensor in reports:
                done, last = done + last, sizes.get(tensor, 0)
                yield Progress(status, NO_DIGEST, total, done)
        yield Progress(status, NO_DIGEST, total, total)
        yield Progress("verifying conversion")
        await asyncio.to_thread(_verify, target, weights, quantization)
        await asyncio.to_thread(writer.rehash)
        yield await asyncio.to_thread(writer.commit)


def _arrange(blobs: BlobStore, weights: Weights, folder: Path) -> Path:
    """Give the parts names by which llama.cpp finds one from the other (`llama_split_path`)."""
    count = len(weights.parts)
    if count == 1:
        return blobs.path(weights.parts[0][0])
    paths = [folder / f"part-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    for path, (digest, _) in zip(paths, weights.parts, strict=True):
        path.symlink_to(blobs.path(digest).absolute())
    return paths[0]


async def _run(job: Job) -> AsyncGenerator[str, None]:
    """Run the child; yields the names of the tensors as they are begun. The child ends with this generator."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "corral.runtime.engine.quantize"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=runner_environment(os.environ),
        start_new_session=True,  # a Ctrl-C in our terminal is not meant for it
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    complaints = asyncio.create_task(process.stderr.read())
    try:
        with contextlib.suppress(ConnectionError):  # it ended early: what follows says how
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            await process.stdin.drain()
        async for line in process.stdout:
            report = msgspec.json.decode(line, type=Report)
            if report.error:
                raise QuantizeFailed(report.error)
            if report.done:
                return
            yield report.tensor
        last = (await complaints).decode(errors="replace").strip().rpartition("\n")[2]
        raise QuantizeFailed(f"{_end_of(await process.wait())}: {last}".removesuffix(": "))
    finally:
        complaints.cancel()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())


def _end_of(code: int) -> str:
    if code == -_SIGKILL:
        return "the quantizer was killed, most likely because the memory was full"
    return f"the quantizer stopped ({signal.Signals(-code).name if code < 0 else f'exit status {code}'})"


def _expected_bytes(weights: Weights, quantization: str) -> int:
    """About how large the file becomes, for a look at the disk before hours are spent."""
    if not quantization:
        return sum(header.file_size for _, header in weights.parts)
    digits = next((character for character in quantization if character.isdigit()), "8")
    bits = _BITS.get(quantization, float(digits) + _MORE_THAN_NAMED)
    return int(sum(header.parameter_count for _, header in weights.parts) * bits / 8)


def _verify(path: Path, weights: Weights, quantization: str) -> None:
    """Look at what the quantizer wrote with our own reader. Raises QuantizeFailed."""
    try:
        made = read_header(path)
    except NotGguf as error:
        raise QuantizeFailed(f"the quantizer wrote no whole file: {error}") from None
    before = {tensor.name: tensor.shape for _, header in weights.parts for tensor in header.tensors}
    if {tensor.name: tensor.shape for tensor in made.tensors} != before:
        raise QuantizeFailed("the quantizer left tensors out")
    if quantization and made.quantization != quantization:
        raise QuantizeFailed(f"the quantizer wrote {made.quantization} instead of {quantization}")


def check_source(weights: Weights) -> str:
    """The type of weights that can be quantized.

    Raises:
        BadRequest: they are quantized already.
    """
    kind = weights.header.quantization
    if kind not in UNQUANTIZED:
        raise BadRequest("quantization is only supported for F16, BF16 and F32 models")
    return kind


def in_order(parts: Sequence[tuple[Digest, GgufHeader]]) -> Weights:
    """Put the files of a model in order: one whole file, or all parts of one split.

    Raises:
        BadRequest: a part is missing or there twice, or these are several models.
    """
    counts = {header.number("split.count") for _, header in parts}
    count = max(counts, default=0)
    if count <= 1:
        if len(parts) != 1:
            raise BadRequest(f"{len(parts)} models in GGUF files: a model is made from one, whole or split")
        if not parts[0][1].architecture:
            raise BadRequest("no base model was found")
        return Weights(tuple(parts))
    numbers = sorted(header.number("split.no") for _, header in parts)
    missing = [number + 1 for number in range(count) if number not in numbers]
    if missing:
        raise BadRequest(f"the model is split into {count} files: number {missing[0]} is missing")
    if len(counts) != 1 or len(parts) != count:
        raise BadRequest("files of several split models, or one file twice")
    whole = Weights(tuple(sorted(parts, key=lambda part: part[1].number("split.no"))))
    if whole.tensor_count != whole.header.number("split.tensors.count"):
        raise BadRequest(
            "the files of the split model do not belong together: their tensors are not as many as it says"
        )
    return whole
