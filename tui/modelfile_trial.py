"""A Modelfile as it would answer, without making the model: its base asked with what the text says."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from msgspec import structs

from corral.runtime.errors import InvalidParameter
from corral.runtime.options import parse_parameters
from corral.runtime.verbs import Caller, ChatRequest, GenerateRequest, Message
from corral.store.errors import InvalidName, ModelfileError
from corral.store.modelfile import Modelfile, parse
from corral.store.names import ModelName


@dataclass(frozen=True, slots=True)
class Trial:
    """A request that asks as the model would be asked, and what of the text it cannot try."""

    request: ChatRequest | GenerateRequest
    left_out: tuple[str, ...] = ()

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings it sets."""
        stop = self.request.options.get("stop", ())
        return tuple(map(str, stop)) if isinstance(stop, list | tuple) else (str(stop),)


def trial(text: str, prompt: str, *, models: Collection[str], opened: str, caller: Caller) -> Trial:
    """Say how to try a Modelfile. `opened` is the model whose own file it is, if it is one's.

    Raises:
        ModelfileError: it does not parse, has a parameter that is none, or no base that could be asked.
    """
    modelfile = parse(text, require_from=False)
    base = _base(modelfile, models) or (opened if opened in models else "")
    if not base:
        raise ModelfileError("a Modelfile can be tried once its FROM names a model on this machine")
    try:
        options = parse_parameters(list(modelfile.parameters))
    except InvalidParameter as error:
        raise ModelfileError(str(error)) from None
    template, system = modelfile.last("template"), modelfile.last("system")
    left_out = tuple(word for word in ("adapter", "renderer", "parser", "draft") if modelfile.all(word))
    if template is not None:
        if modelfile.messages:
            left_out += ("message",)
        request = GenerateRequest(base, prompt, system=system, template=template, options=options, caller=caller)
        return Trial(request, left_out)
    messages = [Message("system", system)] if system is not None else []
    messages += [Message(role, content) for role, content in modelfile.messages]
    messages.append(Message("user", prompt))
    return Trial(ChatRequest(base, tuple(messages), options, caller=caller), left_out)


def rendered_only(wanted: Trial) -> Trial:
    """The same, to be rendered and not answered."""
    return replace(wanted, request=structs.replace(wanted.request, render_only=True))


def _base(modelfile: Modelfile, models: Collection[str]) -> str:
    known = {ModelName.parse(name).key: name for name in models}
    for command in modelfile.all("from"):
        try:
            return known[ModelName.parse(command.value).key]
        except (InvalidName, KeyError):
            continue
    return ""
