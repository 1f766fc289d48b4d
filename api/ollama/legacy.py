"""`POST /api/create` as clients of Ollama up to 0.5.4 send it: the text of a Modelfile (spec a.18)."""

from __future__ import annotations

from pathlib import PureWindowsPath

from msgspec.structs import replace

from corral.runtime.recipe import put_on
from corral.runtime.verbs import CreateRequest
from corral.store.errors import InvalidDigest, InvalidName, ModelfileError
from corral.store.modelfile import Command, parse
from corral.store.names import Digest, ModelName


def from_modelfile(request: CreateRequest, text: str) -> CreateRequest:
    """Add what a Modelfile says to a request; what the request says itself wins over it.

    Files are named by their digest, after `@` as those clients upload them or as the path of a blob, which is what
    `show --modelfile` writes. Other paths would be read on the server's machine for whoever asks, and are refused.

    Raises:
        ModelfileError: with the line at fault.
    """
    modelfile = parse(text)
    made = CreateRequest(request.model)
    files: dict[str, dict[str, str]] = {"from": {}, "adapter": {}, "draft": {}}
    for command in modelfile.commands:
        if command.name not in files:
            continue
        digest = _digest(command)
        if digest is not None:
            found = files[command.name]
            found[f"{command.name}-{len(found)}.gguf"] = str(digest)
        elif command.name == "from" and made.base is None:
            made = replace(made, base=_model(command))
        else:
            raise _insecure(command)
    made = put_on(made, modelfile)
    return replace(
        request,
        base=request.base or made.base,
        files={**files["from"], **request.files},
        adapters={**files["adapter"], **request.adapters},
        draft_files={**files["draft"], **request.draft_files},
        template=made.template if request.template is None else request.template,
        system=made.system if request.system is None else request.system,
        licenses=(*made.licenses, *request.licenses),
        parameters={**made.parameters, **request.parameters},
        messages=request.messages or made.messages,
        renderer=request.renderer or made.renderer,
        parser=request.parser or made.parser,
        requires=request.requires or made.requires,
    )


def _digest(command: Command) -> Digest | None:
    # Splits at both kinds of slashes: the client may run on another system.
    name = PureWindowsPath(command.value.removeprefix("@")).name
    try:
        return Digest.parse(name)
    except InvalidDigest:
        if command.value.startswith("@"):
            raise ModelfileError("invalid digest format", command.line) from None
        return None


def _model(command: Command) -> str:
    if command.value.startswith((".", "/", "~", "\\")):
        raise _insecure(command)
    try:
        ModelName.parse(command.value)
    except InvalidName:
        raise _insecure(command) from None
    return command.value


def _insecure(command: Command) -> ModelfileError:
    return ModelfileError(f"insecure path: {command.value}; upload the file and name it @sha256:...", command.line)
