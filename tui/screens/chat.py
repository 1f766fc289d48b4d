"""Chat: questions, answers as they come in, and how fast they come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import OptionList

from corral.runtime.errors import RunError
from corral.runtime.snapshot import RequestView, Snapshot
from corral.runtime.verbs import ModelSummary
from corral.store.errors import StoreError
from corral.tui import figures
from corral.tui.actions import Where
from corral.tui.chats import Chats
from corral.tui.screens.base import WorkbenchScreen
from corral.tui.text import clean, clean_line, fit
from corral.tui.widgets.glyphs import Glyphs, bar
from corral.tui.widgets.live_answer import stats_so_far
from corral.tui.widgets.prompt_box import PromptBox
from corral.tui.widgets.rail import Rail
from corral.tui.widgets.transcript import Transcript
from corral.tui.widgets.welcome import Welcome

__all__ = ["ChatScreen"]

_FLUSH_S = 0.1
_REMOTE_FLUSH_S = 0.25  # every new row of a full view sends the whole view, 7 kB of it
_REST = 4  # how much longer than a drawing the pause after it is: a block is drawn whole however long it is
_METER = 10
_ALMOST_FULL = 0.8


class ChatScreen(WorkbenchScreen):
    """The conversations of this session. All of them stream on, whichever is shown."""

    WHERE = Where.CHAT
    AUTO_FOCUS = "#prompt"
    DEFAULT_CSS = """
    ChatScreen #conversation { width: 1fr; height: 1fr; }
    ChatScreen #transcript { height: 1fr; }
    ChatScreen.-wide Rail, ChatScreen.-ultra Rail, ChatScreen.-drawer Rail { display: block; }
    ChatScreen.-wide.-drawer Rail, ChatScreen.-ultra.-drawer Rail { display: none; }
    ChatScreen #welcome { display: none; }
    ChatScreen.-no-models #welcome { display: block; }
    ChatScreen.-no-models #transcript, ChatScreen.-no-models #prompt { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.chats = Chats()
        self._models: Sequence[ModelSummary] = ()
        self._wanted = ""
        self._requests: dict[str, RequestView] = {}
        self._contexts: dict[str, int] = {}
        self._transfers: tuple[str, ...] = ()
        self._timer: Timer | None = None
        self._is_behind = False
        self._next_draw_s = 0.0

    def compose_body(self) -> ComposeResult:
        """Yield rail, transcript and prompt."""
        with Horizontal():
            yield Rail()
            with Vertical(id="conversation"):
                yield Transcript()
                yield Welcome()
                yield PromptBox()

    def on_mount(self) -> None:
        """Look for models, and start the timer that pulls answers."""
        flush_s = _REMOTE_FLUSH_S if self.workbench.is_remote else _FLUSH_S
        self._timer = self.set_interval(flush_s, self._pull, pause=True)
        self.query_one(PromptBox).cursor_blink = not self.workbench.is_remote
        self.watch(self.query_one(Transcript), "scroll_y", self._note_end, init=False)
        if self.workbench.start_model:
            self.chats.current.model = self.workbench.start_model
        self._entitle()
        self._show_chats()

    def on_screen_resume(self) -> None:
        """Look for models again: others may have fetched or removed some."""
        self.run_worker(self._find_models(), group="models", exclusive=True)

    def on_resize(self, event: events.Resize) -> None:
        """The meter stands at the right edge."""
        self.call_after_refresh(self._entitle)

    def on_descendant_focus(self) -> None:
        """The frame changes with the focus."""
        self._entitle()

    # What comes from the service

    async def _find_models(self) -> None:
        try:
            found = await self.link.call(lambda client: client.list_models())
        except (StoreError, RunError) as error:
            self.notify(clean(str(error)), severity="error", markup=False)
            return
        self._models = tuple(model for model in found if model.chats)
        has_none = not self._models
        self.set_class(has_none, "-no-models")
        chat = self.chats.current
        if not chat.model and self._models:
            chat.model = self._models[0].name
        if has_none:
            self.query_one(Welcome).focus()
        elif self.focused is None or isinstance(self.focused, Welcome):
            self.query_one(PromptBox).focus()
        self._entitle()
        self.refresh_bindings()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw figures of what runs."""
        self._requests = {request.id: request for request in snapshot.requests if request.client == "tui"}
        self._contexts.update({model.name: model.num_ctx for model in snapshot.models if model.num_ctx})
        self.query_one(Rail).show_snapshot(snapshot)
        live = self.query_one(Transcript).live
        if live is not None:
            live.note(self._requests.get(live.turn.request_id))
        transfers = tuple(transfer.id for transfer in snapshot.transfers)
        if transfers != self._transfers:
            self._transfers = transfers
            self.on_screen_resume()
        self._entitle()

    def _pull(self) -> None:
        """Take what has come in for every chat; runs only while something is expected."""
        changed = [chat for chat in self.chats.live if chat.poll()]
        current = self.chats.current
        if current in changed:
            self._is_behind = True
        if self._is_behind and (time.monotonic() >= self._next_draw_s or not current.is_live):
            self._draw_growth()
        if any(not chat.is_live for chat in changed):
            self._show_state()
        welcome = self.query_one(Welcome)
        if welcome.is_fetching:
            if welcome.poll():
                self.run_worker(self._open_fetched(), group="models", exclusive=True)
            elif not welcome.is_fetching:
                self.refresh_bindings()
        if not self.chats.live and not welcome.is_fetching and self._timer is not None:
            self._timer.pause()

    def _draw_growth(self) -> None:
        """Draw what came in, then rest as long as a long block's drawing asks for."""
        self._is_behind = False
        began_s = time.monotonic()

        def drawn() -> None:
            now_s = time.monotonic()
            self._next_draw_s = now_s + (now_s - began_s) * _REST

        self.query_one(Transcript).grow()
        self._entitle()
        self.call_after_refresh(drawn)

    async def _open_fetched(self) -> None:
        await self._find_models()
        if self._models:
            self.open_model(self._models[0].name)

    def _watch_closely(self) -> None:
        if self._timer is not None:
            self._timer.resume()
        self.workbench.refresh_now()

    # What is shown

    def _show_chats(self) -> None:
        self.query_one(Transcript).show(self.chats.current)
        self._show_state()
        self._entitle()

    def _show_state(self) -> None:
        self.query_one(Rail).show_chats(self.chats)
        self.query_one(PromptBox).is_answering = self.chats.current.is_live
        self.refresh_bindings()

    def _used_tokens(self) -> int:
        chat = self.chats.current
        request = self._requests.get(chat.turns[-1].request_id) if chat.is_live else None
        return request.prompt_tokens + request.output_tokens if request is not None else chat.used_tokens

    def _meter(self) -> tuple[str, bool]:
        """`ctx 3.1k/8k ▓▓▓░░ 38%`, and whether the context is almost full."""
        limit = self._contexts.get(self.chats.current.model, 0)
        used = self._used_tokens()
        if not limit:
            return (f"ctx {figures.count(used)}" if used else ""), False
        share = min(used / limit, 1.0)
        sign = "! " if share >= _ALMOST_FULL else ""
        text = f"{sign}ctx {figures.count(used)}/{figures.context(limit)}"
        if self.size.width >= 120:
            text += f" {bar(share, _METER, Glyphs.BLOCK)}"
        return f"{text} {share * 100:.0f}%", share >= _ALMOST_FULL

    def _entitle(self) -> None:
        """Write title and meter into the frame, the meter at its right end."""
        chat = self.chats.current
        pane = self.query_one(Transcript)
        meter, is_tight = self._meter()
        room = max(pane.outer_size.width - 6, 10)
        model = clean_line(chat.model) or "no model"
        # the title gives way before the model's name does
        model_part = f" · {model}"
        title = fit(clean_line(chat.title), max(room - len(meter) - 3 - cell_len(model_part), 8)) + model_part
        title = fit(title, max(room - len(meter) - 3, 8))
        gap = room - len(Content(title)) - len(meter) - 2
        line, style = ("━", "$border") if pane.has_focus else ("─", "$border-blurred")
        text = Content.assemble(
            title,
            (f" {line * max(gap, 1)} " if meter else "", style),
            (meter, "$warning" if is_tight else "$text-muted"),
        )
        pane.entitle(text)
        prompt = self.query_one(PromptBox)
        to_whom = Content(f"Prompt to {model}" if chat.model else "Prompt")
        if prompt.border_title != to_whom.markup:
            prompt.border_title = to_whom
        self._note_end()

    def _note_end(self) -> None:
        pane = self.query_one(Transcript)
        pane.note(f"↓ {pane.lines_below} lines below — End to follow" if pane.lines_below else "")

    # What the user does

    def open_model(self, model: str) -> None:
        """Chat with `model`: in the current chat while it is empty, else in a new one."""
        self.chats.open(model)
        self._show_chats()
        self.query_one(PromptBox).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done now."""
        chat = self.chats.current
        match action:
            case "stop":
                return chat.is_live
            case "fetch_starter":
                return not self._models and not self.query_one(Welcome).is_fetching
            case "write" | "new_chat" | "pick_model":
                return bool(self._models)
            case "regenerate":
                return bool(chat.turns) and not chat.is_live
            case "copy_answer" | "copy_chat":
                return chat.last_answer is not None
            case _:
                return True

    @on(PromptBox.Sent)
    def _send(self, event: PromptBox.Sent) -> None:
        chat = self.chats.current
        if chat.is_live:
            self.notify("An answer is still coming in: Esc stops it", markup=False)
            return
        if not chat.model:
            self.action_pick_model()
            return
        self.query_one(PromptBox).accept()
        chat.ask(event.text, self.link, time.time())
        self._show_chats()
        self.query_one(Transcript).follow()
        self._watch_closely()

    @on(PromptBox.Left)
    def _left(self) -> None:
        self.query_one(Transcript).focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.chats.select(lambda chat: str(chat.number) == event.option.id)
        self._show_chats()
        self.query_one(PromptBox).focus()

    def action_stop(self) -> None:
        """Stop the answer of this chat and keep what has come."""
        chat = self.chats.current
        request = self._requests.get(chat.turns[-1].request_id) if chat.turns else None
        known = (stats_so_far(request), request.warnings) if request is not None else ()
        if chat.stop(*known):
            transcript = self.query_one(Transcript)
            transcript.grow()
            self._show_state()

    def action_write(self) -> None:
        """Go to the prompt."""
        self.query_one(PromptBox).focus()

    @on(Welcome.Wanted)
    def action_fetch_starter(self) -> None:
        """Fetch the starter model and chat with it."""
        self.query_one(Welcome).fetch(self.link, self.workbench.starter)
        self._watch_closely()
        self.refresh_bindings()

    def action_pick_model(self) -> None:
        """Let the user choose among the models on disk."""
        choices = [
            (clean_line(model.name), partial(self._use, model.name), clean_line(model.details.parameter_size))
            for model in self._models
        ]
        self.app.search_commands(choices, placeholder="Chat with which model?")

    def _use(self, model: str) -> None:
        self.chats.current.model = model
        self._show_chats()
        self.query_one(PromptBox).focus()

    def action_new_chat(self) -> None:
        """Start another chat with the same model."""
        self.open_model(self.chats.current.model)

    def action_switch_chat(self, by: int) -> None:
        """Go to another chat."""
        self.chats.step(by)
        self._show_chats()

    def action_regenerate(self) -> None:
        """Have the last question answered again."""
        if self.chats.current.again(self.link, time.time()):
            self._show_chats()
            self._watch_closely()

    def action_copy_answer(self) -> None:
        """Copy the last answer."""
        answer = self.chats.current.last_answer
        if answer is not None:
            self.workbench.copy_to_clipboard(answer.text)

    def action_copy_chat(self) -> None:
        """Copy everything that was said."""
        said = (f"{turn.role}: {turn.text}" for turn in self.chats.current.turns if turn.text)
        self.workbench.copy_to_clipboard("\n\n".join(said))

    def action_thoughts(self) -> None:
        """Open what models thought before their answers, or fold it to a line each."""
        self.query_one(Transcript).toggle_thoughts()

    def action_rail(self) -> None:
        """Show the side where it is hidden, hide it where it is shown."""
        self.toggle_class("-drawer")
        self.call_after_refresh(self._entitle)

    def action_follow(self) -> None:
        """Go to the end."""
        self.query_one(Transcript).follow()
        self._note_end()

    def action_to_top(self) -> None:
        """Go to the beginning."""
        self.query_one(Transcript).to_top()
        self._note_end()

    def action_scroll_lines(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one(Transcript).leave_end(lines)
        self._note_end()

    def action_scroll_half(self, direction: int) -> None:
        """Scroll by half a page."""
        transcript = self.query_one(Transcript)
        transcript.leave_end(direction * max(transcript.size.height // 2, 1))
        self._note_end()
