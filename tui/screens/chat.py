"""Chat: questions, answers as they come in, and how fast they come."""

from __future__ import annotations

import time
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
from corral.store.errors import StoreError
from corral.tui.actions import Where
from corral.tui.chats import Chat
from corral.tui.completing import Completer
from corral.tui.screens.chat_asking import AskingKeys
from corral.tui.text import clean_line, fit
from corral.tui.widgets.context_meter import Meter, meter, will_be_cut
from corral.tui.widgets.filter_bar import FilterBar
from corral.tui.widgets.live_answer import stats_so_far
from corral.tui.widgets.picture import picture_sizes
from corral.tui.widgets.prompt_box import PromptBox
from corral.tui.widgets.queued import QueuedLines
from corral.tui.widgets.rail import Rail
from corral.tui.widgets.suggestions import Suggestions
from corral.tui.widgets.transcript import Transcript
from corral.tui.widgets.welcome import Welcome

__all__ = ["ChatScreen"]

_FLUSH_S = 0.1
_REMOTE_FLUSH_S = 0.25  # every new row of a full view sends the whole view, 7 kB of it
_ROWS_STEP = 4  # by which a growing answer's height grows
_REST = 4  # how much longer than a drawing the pause after it is: a block is drawn whole however long it is
_ALL_LINES = 1_000_000
_NAME_CELLS = 24
_WIDE = 90  # columns of a pane whose meter has room for a bar


class ChatScreen(AskingKeys):
    """The conversations of this user. All of them stream on, whichever is shown."""

    WHERE = Where.CHAT
    AUTO_FOCUS = "#prompt"
    DEFAULT_CSS = """
    ChatScreen #conversation { width: 1fr; height: 1fr; }
    ChatScreen #pair { height: 1fr; }
    ChatScreen #transcript { height: 1fr; }
    ChatScreen.-wide Rail, ChatScreen.-ultra Rail, ChatScreen.-drawer Rail { display: block; }
    ChatScreen.-wide.-drawer Rail, ChatScreen.-ultra.-drawer Rail { display: none; }
    ChatScreen #welcome { display: none; }
    ChatScreen.-no-models #welcome { display: block; }
    ChatScreen.-no-models #pair, ChatScreen.-no-models #prompt { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._requests: dict[str, RequestView] = {}
        self._transfers: tuple[str, ...] = ()
        self._timer: Timer | None = None
        self._is_behind = False
        self._next_draw_s = 0.0

    def compose_body(self) -> ComposeResult:
        """Yield rail, transcript and prompt."""
        with Horizontal():
            yield Rail()
            with Vertical(id="conversation"):
                with Horizontal(id="pair"):
                    yield Transcript()
                yield Welcome()
                yield FilterBar()
                yield QueuedLines()
                yield Suggestions()
                yield PromptBox()

    def on_mount(self) -> None:
        """Look for models and saved chats, and start the timer that pulls answers."""
        is_remote = self.workbench.is_remote
        self._timer = self.set_interval(_REMOTE_FLUSH_S if is_remote else _FLUSH_S, self._pull, pause=True)
        self.transcript.rows_step = _ROWS_STEP
        self._use_images()
        self.watch(self.workbench, "images", self._show_images, init=False)
        self._blink()
        self.prompt.completer = Completer(self.folder, self.known_files, lambda: [one.name for one in self.models])
        self.watch(self.transcript, "scroll_y", self._note_end, init=False)
        if self.workbench.start_model:
            self.chat.model = self.workbench.start_model
        self.begin_keeping()
        self.show_chats()

    def _use_images(self) -> None:
        self.transcript.pictures = picture_sizes(self.workbench.environ, self.workbench.images)

    def _show_images(self) -> None:
        """Draw images, or no longer."""
        self._use_images()
        self.show_chats()

    def on_screen_resume(self) -> None:
        """Look for models again: others may have fetched or removed some."""
        self._blink()
        if self._is_behind:
            self._draw_growth()
        self.forget_files()
        self.start(self._find_models, "models")

    def on_screen_suspend(self) -> None:
        """Let no cursor blink where nobody sees it: twice a second that wakes the process up."""
        self._blink()

    def _blink(self) -> None:
        self.prompt.cursor_blink = self.is_current and not self.workbench.is_remote

    def on_resize(self, event: events.Resize) -> None:
        """The meter stands at the right edge."""
        self.call_after_refresh(self.entitle)

    def on_descendant_focus(self) -> None:
        """The frame changes with the focus, and which of two models' answers keys act on."""
        focused = self.focused
        self.last_pane = focused if isinstance(focused, Transcript) else self.last_pane
        self.entitle()

    # What comes from the service

    async def _find_models(self) -> None:
        try:
            found = await self.link.call(lambda client: client.list_models())
        except (StoreError, RunError) as error:
            self.tell_error(str(error))
            return
        self.models = tuple(model for model in found if model.chats)
        has_none = not self.models
        self.set_class(has_none, "-no-models")
        if not self.chat.model:
            self.chat.model = self.usual_model
        if has_none:
            self.query_one(Welcome).focus()
        elif self.focused is None or isinstance(self.focused, Welcome):
            self.prompt.focus()
        self.entitle()
        self.refresh_bindings()

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Draw figures of what runs."""
        self._requests = {request.id: request for request in snapshot.requests if request.client == "tui"}
        self.contexts.update({model.name: model.num_ctx for model in snapshot.models if model.num_ctx})
        self.query_one(Rail).show_snapshot(snapshot)
        for pane in self.panes:
            live = pane.live
            if live is not None:
                live.note(self._requests.get(live.turn.request_id))
        transfers = tuple(transfer.id for transfer in snapshot.transfers)
        if transfers != self._transfers:
            self._transfers = transfers
            self.on_screen_resume()
        self.entitle()

    def _pull(self) -> None:
        """Take what has come in for every chat; runs only while something is expected."""
        changed = [chat for chat in self.chats.live if chat.poll()]
        shown = (self.chat, self.twin)
        if any(chat in changed for chat in shown):
            self._is_behind = True
        is_over = any(chat in changed and not chat.is_live for chat in shown if chat is not None)
        is_time = self.is_in_view and time.monotonic() >= self._next_draw_s
        if self._is_behind and (is_time or is_over):
            self._draw_growth()
        if any(not chat.is_live for chat in changed):
            self._show_state()
            self.ask_queued()
        welcome = self.query_one(Welcome)
        if welcome.is_fetching:
            if welcome.poll():
                self.start(self._open_fetched, "models")
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

        for pane in self.panes:
            pane.grow()
        self.entitle()
        self.call_after_refresh(drawn)

    async def _open_fetched(self) -> None:
        await self._find_models()
        if self.models:
            self.open_model(self.models[0].name)

    def watch_closely(self) -> None:
        """Look for what comes in until nothing more does."""
        if self._timer is not None:
            self._timer.resume()
        self.workbench.refresh_now()

    # What is shown

    def show_chats(self) -> None:
        """Draw the current chat and the list."""
        if not self.chat.model:
            self.chat.model = self.usual_model
        if not self.chat.is_there:
            self.fetch(self.chat)
        self.swap_drafts()
        self.transcript.show(self.chat)
        self.draw_twin()
        self._show_state()
        self.entitle()

    def _show_state(self) -> None:
        self.query_one(Rail).show_chats(self.chats)
        self.prompt.is_answering = self.is_answering(self.chat) or bool(self.chat.queue)
        self.show_queue()
        self.refresh_bindings()

    def _used_tokens(self, chat: Chat) -> int:
        live = chat.live_turn
        request = self._requests.get(live.request_id) if live is not None else None
        return request.prompt_tokens + request.output_tokens if request is not None else chat.used_tokens

    def _meter(self, chat: Chat, pane: Transcript) -> Meter:
        limit = self.contexts.get(chat.model, 0)
        draft = 0 if chat.is_live else self.draft_tokens
        cut = [] if chat.is_live else will_be_cut(chat.turns, draft, limit)
        pane.mark_cut(cut)
        is_wide = pane.outer_size.width >= _WIDE
        return meter(self._used_tokens(chat), draft, limit, cut=len(cut), is_wide=is_wide)

    def entitle(self) -> None:
        """Write title and meter into each frame, the meter at its right end."""
        chat, twin, second = self.chat, self.twin, self.twin_pane
        model = clean_line(chat.model) or "no model"
        title = clean_line(chat.title).removesuffix(f" · {model}")  # a chat that stood beside another is named so
        self._entitle(chat, self.transcript, title if twin is None else "", model)
        if twin is not None and second is not None:
            self._entitle(twin, second, "", clean_line(twin.model))
        both = f" and {clean_line(self.twin.model)}" if self.twin is not None else ""
        to_whom = Content(f"Prompt to {model}{both}" if chat.model else "Prompt")
        calls = self.chat.open_calls
        if calls:
            more = f", {len(calls) - 1} more to come" if len(calls) > 1 else ""
            to_whom = Content(f"/result TEXT says what {fit(calls[0].name, _NAME_CELLS)} gave back{more}")
        if self.editing is not None:
            to_whom = Content("In other words: ⏎ asks on a branch, Esc leaves it")
        if self.prompt.border_title != to_whom.markup:
            self.prompt.border_title = to_whom
        self._note_end()

    def _entitle(self, chat: Chat, pane: Transcript, title: str, model: str) -> None:
        shown = self._meter(chat, pane)
        room = max(pane.outer_size.width - 6, 10)
        changes = len(chat.settings.changes())
        model_part = (" · " if title else "") + model + (f" · {changes} set" if changes else "")
        # the title gives way before the model's name does
        text = fit(title, max(room - len(shown.text) - 3 - cell_len(model_part), 8)) + model_part
        text = fit(text, max(room - len(shown.text) - 3, 8))
        gap = room - cell_len(text) - len(shown.text) - 2
        line, style = ("━", "$border") if pane.has_focus else ("─", "$border-blurred")
        content = Content.assemble(
            text,
            (f" {line * max(gap, 1)} " if shown.text else "", style),
            (shown.text, "$warning" if shown.is_tight else "$text-muted"),
        )
        pane.entitle(content)

    def _note_end(self) -> None:
        for pane in self.panes:
            if pane.selection is not None:
                count = pane.selection.count
                pane.note(f"{count:,} line{'s' * (count > 1)} selected · j k select · y copies · Esc leaves")
            elif self._found and pane is self.pane:
                continue  # how many places were found stands there
            elif pane.lines_below:
                pane.note(f"↓ {pane.lines_below} lines below — End to follow")
            else:
                pane.note("")

    # What the user does

    def open_model(self, model: str) -> None:
        """Chat with `model`: in the current chat while it is empty, else in a new one."""
        self.chats.open(model)
        self.show_chats()
        self.prompt.focus()

    def use_model(self, model: str) -> None:
        """Go on with another model."""
        self.chat.model = model
        self.chat.is_changed = True
        self.show_chats()
        self.prompt.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done now."""
        chat = self.chat
        match action:
            case "stop":
                return self._is_stoppable or self.has_marks
            case "fetch_starter":
                return not self.models and not self.query_one(Welcome).is_fetching
            case "write" | "new_chat" | "pick_model" | "options" | "split":
                return bool(self.models)
            case "regenerate" | "regenerate_with" | "edit" | "go_on":
                return bool(chat.root.children) and not chat.is_live
            case "copy_answer" | "copy_code":
                return self.target is not None or self.has_marks
            case "copy_chat" | "rename" | "export" | "archive" | "fork" | "raw" | "find" | "choose" | "select":
                return bool(chat.root.children)
            case _:
                return True

    @property
    def _is_stoppable(self) -> bool:
        """Whether Esc stops something: a selection is left before."""
        return (self.is_answering(self.chat) or bool(self.chat.queue)) and self.selecting is None

    def word_of(self, action: str, word: str) -> str:
        """Where nothing can be stopped, Esc leaves marks."""
        return "back" if action == "stop" and not self._is_stoppable else word

    @on(OptionList.OptionSelected, "#rail OptionList")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        chat = next((one for one in self.chats.all if str(one.number) == event.option.id), self.chat)
        self.visit(chat)
        self.prompt.focus()

    def action_stop(self) -> None:
        """Leave a selection; else stop what comes in and keep what has come; else take marks away."""
        if self.leave_selection():
            return
        has_stopped = False
        for chat in (self.chat, self.twin):
            live = chat.live_turn if chat is not None else None
            if chat is None or live is None:
                continue
            request = self._requests.get(live.request_id)
            known = (stats_so_far(request), request.warnings) if request is not None else ()
            has_stopped = chat.stop(*known) or has_stopped
        has_stopped = self.bring_back(self.chat) or has_stopped
        if has_stopped:
            for pane in self.panes:
                pane.grow()
            self._show_state()
        else:
            self.forget_marks()

    def action_write(self) -> None:
        """Go to the prompt."""
        self.prompt.focus()

    @on(Welcome.Wanted)
    def action_fetch_starter(self) -> None:
        """Fetch the starter model and chat with it."""
        self.query_one(Welcome).fetch(self.link, self.workbench.starter)
        self.watch_closely()
        self.refresh_bindings()

    def action_pick_model(self) -> None:
        """Let the user choose among the models on disk."""
        choices = [
            (clean_line(model.name), partial(self.use_model, model.name), clean_line(model.details.parameter_size))
            for model in self.models
        ]
        self.app.search_commands(choices, placeholder="Chat with which model?")

    def action_new_chat(self) -> None:
        """Start another chat with the same model."""
        self.open_model(self.chat.model)

    def action_switch_chat(self, by: int) -> None:
        """Go to another chat."""
        self.visit(self.chats.step(by))

    def action_delete(self) -> None:
        """Delete the chosen message, or the chat."""
        chosen = self.pane.chosen
        if chosen is not None:
            self.delete_turn(chosen)
        else:
            self.start(partial(self.delete_chat, self.chat), "delete", exclusive=False)

    def action_thoughts(self) -> None:
        """Open what models thought before their answers and what they called, or fold it to a line each."""
        self.leave_selection()
        for pane in self.panes:
            pane.toggle_folds()

    def action_rail(self) -> None:
        """Show the side where it is hidden, hide it where it is shown."""
        self.toggle_class("-drawer")
        self.call_after_refresh(self.entitle)

    def action_follow(self) -> None:
        """Go to the end."""
        if self.move_selection(_ALL_LINES):
            return
        for pane in self.panes:
            pane.follow()
        self._note_end()

    def action_to_top(self) -> None:
        """Go to the beginning."""
        if not self.move_selection(-_ALL_LINES):
            self.pane.to_top()
            self._note_end()

    def action_scroll_lines(self, lines: int) -> None:
        """Scroll by lines; of two models' answers those that have the focus."""
        if not self.move_selection(lines):
            self.pane.leave_end(lines)
            self._note_end()

    def action_scroll_half(self, direction: int) -> None:
        """Scroll by half a page."""
        self.action_scroll_lines(direction * max(self.pane.size.height // 2, 1))
