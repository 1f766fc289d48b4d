"""From a `Submit` to tokens, on the runner's main thread, so that a long prompt never keeps the streams waiting."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from corral.runtime.engine.call_grammar import call_grammar
from corral.runtime.engine.deferral import Deferral
from corral.runtime.engine.drafting import PromptLookup
from corral.runtime.engine.grammar import Constraint, GrammarFailed, Grammars
from corral.runtime.engine.lazy_calls import LazyCalls
from corral.runtime.engine.llama import Model
from corral.runtime.engine.logprobs import LogprobStream
from corral.runtime.engine.protocol import ChatPrompt, RawPrompt, Refused, Rendered, Sampling, Submit, ToolUse
from corral.runtime.engine.sampling import new_sampler
from corral.runtime.engine.sequence import Request, without_images
from corral.runtime.engine.shift import SMALLEST_WINDOW, tokens_to_keep
from corral.runtime.engine.sight import Sight
from corral.runtime.engine.vision import Vision
from corral.runtime.errors import BadRequest, PromptTooLong, TemplateFailed
from corral.runtime.prompt.families import RENDERER_TAGS
from corral.runtime.prompt.fit import Fitted, cut_middle, fit
from corral.runtime.prompt.parsers.answers import parser_for
from corral.runtime.prompt.parsers.calls import Offered, offered_by
from corral.runtime.prompt.parsers.families import PARSERS, Family, family_of
from corral.runtime.prompt.parsers.trigger import CallTrigger
from corral.runtime.prompt.render import ModelTemplate, renderer_for, template_of
from corral.runtime.prompt.renderers.plain import family_by_marks
from corral.runtime.prompt.thinking import Tags, forget_thinking

_NAMES: Final = {
    "json_schema": "invalid JSON schema in format",
    "grammar": "invalid grammar",
    "regex": "invalid regex",
}


_BLANKS_AT_END: Final = 16
"""Tokens of whitespace that may stand behind a tag at a prompt's end."""


class Preparer:
    """Renders and tokenises; belongs to the runner's main thread, which alone may set an alarm."""

    def __init__(
        self,
        model: Model,
        num_ctx: int,
        *,
        looks_up: bool = True,
        vision: Vision | None = None,
        most_at_once: int = 0,
    ) -> None:
        """`looks_up` has what comes next guessed from what was said before.

        `vision` reads images, of which some must fit a batch of `most_at_once` tokens.
        """
        self._vision = vision
        self._most_at_once = most_at_once
        self._model = model
        self._num_ctx = num_ctx
        self._looks_up = looks_up
        bos, eos = model.special_texts()
        self._grammars = Grammars(model)
        source = model.chat_template()
        family = "" if source else family_by_marks(model.has_mark)
        self._template = ModelTemplate(source, bos, eos, family, model.infill_texts())

    def prepare(self, submit: Submit) -> Request | Refused | Rendered:
        """Return what the loop needs, why the request cannot run, or the prompt where that is all it asks for."""
        num_ctx = min(submit.num_ctx, self._num_ctx) if submit.num_ctx > 0 else self._num_ctx
        bad = next((token for token in submit.prefix if not self._model.is_token(token)), None)
        if bad is not None:
            return Refused(submit.id, "bad_request", f"context holds {bad}, which is no token of this model")
        try:
            sight = Sight(self._vision, self._most_at_once, submit.prompt)
            fitted = self._tokens(submit, num_ctx, sight)
        except TemplateFailed as error:
            return Refused(submit.id, "template", str(error))
        except ValueError as error:
            return Refused(submit.id, "bad_request", str(error))
        if submit.render_only:
            before = b"".join(map(self._model.piece, submit.prefix)).decode(errors="replace")
            return Rendered(submit.id, before + sight.shown(fitted.text))
        tokens = submit.prefix + fitted.tokens
        if not tokens:
            return Refused(submit.id, "bad_request", "the prompt is empty")
        media = sight.spans(tokens)
        num_ctx -= sum(span.media.cells - len(span.media.stand_ins) for span in media)
        cut = 0
        keep = tokens_to_keep(submit.num_keep, len(tokens), num_ctx, begins=self._model.begins)
        if len(tokens) > num_ctx:
            if not submit.truncate or media:
                return Refused(submit.id, "too_long", str(PromptTooLong(len(tokens), num_ctx)), len(tokens))
            short = cut_middle(tokens, keep, max(keep + 1, num_ctx - _room(submit.num_predict, num_ctx)))
            tokens, cut = short, len(tokens) - len(short)
        try:
            sight.encode(media)
        except ValueError as error:
            return Refused(submit.id, "bad_request", str(error))
        text = without_images(tokens) if media else tokens
        family, tools = self._family(submit), _tools(submit)
        inside = family.tags is not None and self._opens(family.tags, text)
        try:
            offered = offered_by(tools) if tools is not None else None
            constraint, unbound = self._constraint(submit, family, offered, inside=inside)
            sampler = new_sampler(submit.sampling, self._model, num_ctx, text)
        except GrammarFailed as error:
            what = _NAMES.get(submit.grammar.kind if submit.grammar else "", "invalid parameters of a tool")
            return Refused(submit.id, "bad_request", f"{what}: {error}")
        except (ValueError, BadRequest) as error:
            return Refused(submit.id, "bad_request", str(error))
        return Request(
            id=submit.id,
            tokens=tokens,
            sampler=sampler,
            num_ctx=num_ctx,
            num_predict=submit.num_predict,
            stop=tuple(submit.stop),
            want_context=submit.want_context,
            dropped=fitted.dropped,
            cut=cut,
            shift=submit.shift and num_ctx >= SMALLEST_WINDOW and not media,
            keep=min(keep, len(tokens)),
            constraint=constraint,
            logprobs=LogprobStream(self._model, submit.logprobs) if submit.logprobs is not None else None,
            most_guessed=submit.draft_num_predict if self._looks_up or not media else 0,  # a draft model sees none
            lookup=PromptLookup(text) if self._looks_up and submit.draft_num_predict else None,
            parser=parser_for(
                family, offered, thinks=_thinks(submit), inside=inside, parallel=tools is None or tools.parallel
            ),
            media=media,
            warnings=_not_shown(offered or {}, fitted.text) + unbound,
            repeatable=submit.sampling.temperature <= 0 or submit.sampling.seed >= 0,
        )

    def tokens_of(self, request_id: int, prompt: ChatPrompt) -> list[int] | Refused:
        """Return all tokens of a chat as the model would be sent it, or why it cannot be rendered."""
        whole = Submit(request_id, prompt, Sampling(), num_ctx=0, truncate=False)
        try:
            return self._tokens(whole, 0, Sight(self._vision, self._most_at_once, prompt)).tokens
        except TemplateFailed as error:
            return Refused(request_id, "template", str(error))
        except ValueError as error:
            return Refused(request_id, "bad_request", str(error))

    def _family(self, submit: Submit) -> Family:
        """Return how the answer is to be read; that to a raw prompt, or before a suffix, is not looked into."""
        prompt = submit.prompt
        if not isinstance(prompt, ChatPrompt) or prompt.suffix:
            return Family()
        family = family_of(prompt.parser, template_of(prompt.go_template, self._template))
        if prompt.renderer and prompt.parser not in PARSERS:
            family = replace(family, tags=RENDERER_TAGS.get(prompt.renderer))
        return family

    def _constraint(
        self, submit: Submit, family: Family, offered: Offered | None, *, inside: bool
    ) -> tuple[Constraint | LazyCalls | None, tuple[str, ...]]:
        """Return what binds the answer, to a form or to calls, and what is to be told of it.

        Raises GrammarFailed, BadRequest and ValueError.
        """
        deferral = Deferral(family.tags, inside) if family.tags is not None and _thinks(submit) else None
        if submit.grammar is not None:
            return self._grammars.compile(submit.grammar, deferral), ()
        tools = _tools(submit)
        if tools is None or offered is None:
            return None, ()
        if not (tools.only or tools.choice == "required"):
            trigger = CallTrigger(family, thinks=_thinks(submit), inside=inside)
            return self._lazily(trigger, family, offered, parallel=tools.parallel)
        calls = call_grammar(self._model, family, offered, parallel=tools.parallel, inside=inside)
        if calls is None:
            raise ValueError("this model cannot be made to call tools: neither template nor parser says how it does")
        return self._grammars.compile_calls(calls, deferral if family.channels is None else None), ()

    def _lazily(
        self, trigger: CallTrigger, family: Family, offered: Offered, *, parallel: bool
    ) -> tuple[LazyCalls | None, tuple[str, ...]]:
        """Return what binds the calls of an answer that need not make any, None where they cannot be bound, and why."""
        if trigger.off or not offered:
            return None, ()
        try:
            calls = call_grammar(self._model, family, offered, parallel=parallel, inside=False, begun=True)
            bound = self._grammars.compile_lazily(calls) if calls is not None else None
        except (GrammarFailed, BadRequest, ValueError) as error:
            return None, (f"the model's calls are not held to their tools' parameters: {error}",)
        if bound is None:
            return None, ()
        return LazyCalls(trigger, bound, self._model.piece, self._grammars.tokens), ()

    def _opens(self, tags: Tags, tokens: list[int]) -> bool:
        """Say whether a prompt ends with the opening tag."""
        tail = tokens[-len(tags.opening.encode()) - _BLANKS_AT_END :]
        text = b"".join(map(self._model.piece, tail)).decode(errors="replace")
        return text.rstrip().endswith(tags.opening)

    def _tokens(self, submit: Submit, num_ctx: int, sight: Sight) -> Fitted:
        """Render and tokenise. Raises TemplateFailed, and ValueError for what cannot be tokenised."""
        begin = not submit.prefix

        def tokenize(text: str) -> list[int]:
            return sight.tokenize(text, self._model, begin=begin)

        if isinstance(submit.prompt, RawPrompt):
            text = sight.text(submit.prompt)
            return Fitted(tokenize(text), 0, text)
        prompt = submit.prompt
        render = renderer_for(
            prompt.go_template,
            self._template,
            prompt.think,
            functions=prompt.tools.functions if prompt.tools is not None else "",
            renderer=prompt.renderer,
            suffix=prompt.suffix,
        )
        tags, turns = self._family(submit).tags, sight.turns(prompt)
        turns = forget_thinking(turns, tags) if tags is not None else turns
        if not submit.truncate:
            text = render(turns)
            return Fitted(tokenize(text), 0, text)
        return fit(turns, render, tokenize, num_ctx - len(submit.prefix))


def _thinks(submit: Submit) -> bool:
    """Say whether the model is to think before it answers."""
    return isinstance(submit.prompt, ChatPrompt) and bool(submit.prompt.think)


def _tools(submit: Submit) -> ToolUse | None:
    """Return the tools the model may call."""
    tools = submit.prompt.tools if isinstance(submit.prompt, ChatPrompt) else None
    return tools if tools is not None and tools.choice != "none" else None


def _not_shown(offered: Offered, prompt: str) -> tuple[str, ...]:
    """Warn where a prompt names none of the tools that the model may call: its template has no place for them."""
    if not offered or any(name in prompt for name in offered):
        return ()
    return ("the model was not shown the tools: its template has no place for them",)


def _room(num_predict: int, num_ctx: int) -> int:
    """Return how many tokens a prompt that is cut leaves to its answer: what it may take, a quarter at most."""
    most = num_ctx // 4
    return min(num_predict, most) if num_predict >= 0 else most
