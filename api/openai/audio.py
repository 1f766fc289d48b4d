"""`POST /v1/audio/transcriptions` (spec b.7): checked as Ollama checks it, and refused, since nothing here hears."""

from __future__ import annotations

from aiohttp import BodyPartReader, web

from corral.api.errors import RequestRefused
from corral.api.keys import caller, workbench
from corral.api.ollama.checks import check_model, check_name
from corral.store.names import ModelName, without_local

MAX_BYTES = 25 * 2**20
_LONGEST_FIELD = 4096
_NO_FORM = "the request is no multipart form"


async def transcriptions(request: web.Request) -> web.Response:
    """Refuse to write down what is said, with the reason."""
    model, heard = await _form(request)
    check_name(model, RequestRefused("model is required"))
    if heard is None:
        raise RequestRefused("file is required: http: no such file")
    if not heard:
        raise RequestRefused("audio file is empty")
    caller(request, model)
    client = workbench(request)
    await check_model(client, model)
    if "audio" in (await client.show(model)).capabilities:
        raise RequestRefused("audio input is not supported by this server yet")
    raise RequestRefused(f"{ModelName.parse(without_local(model)).full} does not support audio")


async def _form(request: web.Request) -> tuple[str, int | None]:
    """Return the model's name and the file's size in bytes, None where there is no file."""
    model, size = "", None
    try:
        form = await request.multipart()
        async for part in form:
            if not isinstance(part, BodyPartReader):
                raise RequestRefused(_NO_FORM)
            read = 0
            text = b""
            while chunk := await part.read_chunk():
                read += len(chunk)
                if read > MAX_BYTES:
                    raise RequestRefused("request body too large", 413)
                if len(text) < _LONGEST_FIELD:
                    text += chunk
            if part.name == "file":
                size = read
            elif part.name == "model":
                model = text.decode("utf-8", "replace").strip()
    except (AssertionError, KeyError, ValueError, web.RequestPayloadError) as error:
        raise RequestRefused(_NO_FORM) from error
    return model, size
