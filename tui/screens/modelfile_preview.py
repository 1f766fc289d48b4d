"""What the pane beside the Modelfile editor does: diff, prompt with its tokens, a try without making a model."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

from rich.text import Text
from textual import on, work

from corral.runtime.errors import RunError
from corral.runtime.verbs import ChatRequest, Chunk, Client, GenerateRequest, ModelDetails, TokenizeRequest
from corral.store.errors import ModelfileError, StoreError
from corral.tui.chats import new_caller
from corral.tui.link import StreamHandle
from corral.tui.modelfile_check import base_of, parameter_line
from corral.tui.modelfile_completion import directive_line
from corral.tui.modelfile_diff import changes, text_changes
from corral.tui.modelfile_trial import Trial, rendered_only, trial
from corral.tui.screens.calling import CallingScreen
from corral.tui.text import clean
from corral.tui.widgets.modelfile_editor import ModelfileEditor
from corral.tui.widgets.modelfile_preview import ModelfilePreview, Part, diff_text

_NO_RENDERING = "this server does not show prompts"


async def _render(client: Client, wanted: Trial) -> tuple[str, int]:
    """The prompt a request makes, and its number of tokens."""
    request = wanted.request
    stream = client.chat(request) if isinstance(request, ChatRequest) else client.generate(request)
    rendered = ""
    async with aclosing(stream) as chunks:
        async for chunk in chunks:
            rendered = rendered or chunk.rendered
            if chunk.text or chunk.thinking:
                raise ModelfileError(_NO_RENDERING)  # it took the question for one to be answered
    if not rendered:
        raise ModelfileError(_NO_RENDERING)
    tokens = await client.tokenize(TokenizeRequest(request.model, rendered, caller=request.caller))
    return rendered, len(tokens.tokens)


class PreviewVerbs(CallingScreen):
    """Shows and tries the text of the editor."""

    def __init__(self) -> None:
        super().__init__()
        self.local: tuple[str, ...] | None = None
        self.model_name = ""
        self.saved = ""
        self._base: ModelDetails | None = None
        self._trial: StreamHandle[Chunk] | None = None
        self._answer = ""

    @property
    def editor(self) -> ModelfileEditor:
        """The editor."""
        return self.query_one(ModelfileEditor)

    @property
    def preview(self) -> ModelfilePreview:
        """The pane."""
        return self.query_one(ModelfilePreview)

    @work(exclusive=True, group="diff", exit_on_error=False)
    async def draw_diff(self) -> None:
        """Compare the text with the model it is made from, and with what was opened or saved."""
        text = self.editor.text
        lines: list[Text] = []
        base = base_of(text)
        if base and (self._base is None or self._base.name != base):
            try:
                self._base = await self.link.call(lambda client: client.show(base))
            except (StoreError, RunError):
                self._base = None
        try:
            if base and self._base is not None:
                lines.append(diff_text(changes(text, self._base), f"against {clean(self._base.name)}"))
        except ModelfileError as error:
            lines.append(Text(f"not comparable: {clean(str(error))}", style="dim"))
        own = text_changes(self.saved, text)
        if own:
            lines.append(diff_text(own, "against what was opened or saved"))
        self.preview.put(Part.DIFF, Text("\n\n").join(lines) if lines else "nothing to compare with yet")

    def draw_help(self) -> None:
        """Say what the line under the cursor is about."""
        row, _ = self.editor.cursor_location
        words = self.editor.document.get_line(row).split()
        lines = [directive_line(words[0])] if words else []
        if len(words) > 1 and words[0].casefold() == "parameter":
            lines = [parameter_line(words[1]), "", *lines]
        self.preview.put(Part.HELP, "\n".join(lines) or "Put the cursor on a line to read about it.")

    def _wanted(self) -> Trial | None:
        try:
            return trial(
                self.editor.text,
                self.preview.prompt,
                models=self.local or (),
                opened=self.model_name,
                caller=new_caller("/api/generate"),
            )
        except ModelfileError as error:
            self.preview.put(self.preview.part, str(error))
            return None

    @on(ModelfilePreview.Turned)
    def _turned(self, event: ModelfilePreview.Turned) -> None:
        if event.part is Part.PROMPT:
            self.render_prompt()

    @on(ModelfilePreview.Asked)
    def _asked(self, event: ModelfilePreview.Asked) -> None:
        if event.part is Part.TRY:
            self.try_it()
        else:
            self.render_prompt()

    @work(exclusive=True, group="render", exit_on_error=False)
    async def render_prompt(self) -> None:
        """Show the prompt that the text makes of the question, with its tokens and stop strings."""
        wanted = self._wanted()
        if wanted is None:
            return
        self.preview.put(Part.PROMPT, "rendering…")
        try:
            rendered, tokens = await self.link.call(lambda client: _render(client, rendered_only(wanted)))
        except (StoreError, RunError) as error:
            self.preview.put(Part.PROMPT, str(error))
            return
        stops = f" · stops: {' '.join(wanted.stops)}" if wanted.stops else ""
        self.preview.put(Part.PROMPT, f"{rendered}\n\n{tokens} tokens{stops}{_left_out(wanted)}")

    def try_it(self) -> None:
        """Ask the question as the model would be asked, without making it."""
        wanted = self._wanted()
        if wanted is None:
            return
        if self._trial is not None:
            self._trial.cancel()
        request = wanted.request
        self._answer = f"> {self.preview.prompt}{_left_out(wanted)}\n\n"
        self.preview.put(Part.TRY, f"{self._answer}…")
        self._trial = self.link.stream(
            lambda client: client.generate(request) if isinstance(request, GenerateRequest) else client.chat(request)
        )
        self.set_timer(0.1, self._follow_trial)

    def _follow_trial(self) -> None:
        handle = self._trial
        if handle is None:
            return
        is_done = handle.done
        for chunk in handle.take():
            self._answer += chunk.thinking + chunk.text
            if chunk.done_reason is not None and chunk.stats.output_ns:
                rate = chunk.stats.output_tokens / (chunk.stats.output_ns / 1e9)
                self._answer += (
                    f"\n\n{chunk.stats.prompt_tokens} prompt tokens, {chunk.stats.output_tokens} tokens at {rate:.1f}/s"
                )
        if is_done:
            self._trial = None
            if handle.error is not None:
                self._answer += f"\n✗ {handle.error}"
        self.preview.put(Part.TRY, self._answer)
        self.preview.follow()
        if not is_done:
            self.set_timer(0.1, self._follow_trial)

    def stop_trial(self) -> bool:
        """Stop the answer; False where there is none."""
        if self._trial is None:
            return False
        self._trial.cancel()
        return True

    def action_try(self) -> None:
        """Show the part that tries, and let a question be typed."""
        self.add_class("-preview")
        self.preview.turn(Part.TRY, asks=True)

    def action_tab(self, step: int) -> None:
        """Show another part of the pane."""
        self.add_class("-preview")
        self.preview.turn_by(step)


def _left_out(wanted: Trial) -> str:
    words = ", ".join(word.upper() for word in wanted.left_out)
    return f"\n(without {words}: only the model itself will have that)" if words else ""


def model_of(path: Path | None, name: str) -> str:
    """What the editor's frame calls its text."""
    return name or (path.name if path is not None else "new")
