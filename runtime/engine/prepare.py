"""From a `Submit` to tokens, on the runner's main thread, so that a long prompt never keeps the streams waiting."""

from __future__ import annotations

from typing import Final

from corral.runtime.engine.grammar import GrammarFailed, Grammars
from corral.runtime.engine.llama import Model
from corral.runtime.engine.logprobs import LogprobStream
from corral.runtime.engine.protocol import ChatPrompt, Refused, Submit
from corral.runtime.engine.sampling import new_sampler
from corral.runtime.engine.sequence import Request
from corral.runtime.errors import PromptTooLong, TemplateFailed
from corral.runtime.prompt.fit import fit
from corral.runtime.prompt.render import ModelTemplate, renderer_for

_NAMES: Final = {
    "json_schema": "invalid JSON schema in format",
    "grammar": "invalid grammar",
    "regex": "invalid regex",
}


class Preparer:
    """Renders and tokenises; belongs to the runner's main thread, which alone may set an alarm."""

    def __init__(self, model: Model, num_ctx: int) -> None:
        self._model = model
        self._num_ctx = num_ctx
        bos, eos = model.special_texts()
        self._grammars = Grammars(model)
        self._template = ModelTemplate(model.chat_template(), bos, eos)

    def prepare(self, submit: Submit) -> Request | Refused:
        """Return what the loop needs, or why the request cannot run."""
        num_ctx = min(submit.num_ctx, self._num_ctx) if submit.num_ctx > 0 else self._num_ctx
        bad = next((token for token in submit.prefix if not self._model.is_token(token)), None)
        if bad is not None:
            return Refused(submit.id, "bad_request", f"context holds {bad}, which is no token of this model")
        dropped = 0
        try:
            if isinstance(submit.prompt, ChatPrompt):
                render = renderer_for(submit.prompt.go_template, self._template)
                room = num_ctx - len(submit.prefix)
                begin = not submit.prefix
                fitted = fit(submit.prompt.turns, render, lambda text: self._model.tokenize(text, begin=begin), room)
                tokens, dropped = submit.prefix + fitted.tokens, fitted.dropped
            else:
                tokens = submit.prefix + self._model.tokenize(submit.prompt.text, begin=not submit.prefix)
        except TemplateFailed as error:
            return Refused(submit.id, "template", str(error))
        except ValueError as error:
            return Refused(submit.id, "bad_request", str(error))
        if len(tokens) > num_ctx:
            return Refused(submit.id, "too_long", str(PromptTooLong(len(tokens), num_ctx)), len(tokens))
        if not tokens:
            return Refused(submit.id, "bad_request", "the prompt is empty")
        try:
            constraint = self._grammars.compile(submit.grammar) if submit.grammar is not None else None
            sampler = new_sampler(submit.sampling, self._model, num_ctx, tokens)
        except GrammarFailed as error:
            what = _NAMES.get(submit.grammar.kind if submit.grammar else "", "")
            return Refused(submit.id, "bad_request", f"{what}: {error}")
        except ValueError as error:
            return Refused(submit.id, "bad_request", str(error))
        return Request(
            id=submit.id,
            tokens=tokens,
            sampler=sampler,
            num_ctx=num_ctx,
            num_predict=submit.num_predict,
            stop=tuple(submit.stop),
            want_context=submit.want_context,
            dropped=dropped,
            constraint=constraint,
            logprobs=LogprobStream(self._model, submit.logprobs) if submit.logprobs is not None else None,
        )
