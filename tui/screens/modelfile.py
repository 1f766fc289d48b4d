"""Modelfile: an editor that says what is wrong while one types, and makes the model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widgets import Static, TextArea

from corral.runtime.recipe import create_from_modelfile
from corral.runtime.settings import load
from corral.runtime.snapshot import Snapshot
from corral.runtime.verbs import Progress
from corral.store.errors import ModelfileError
from corral.store.lint import Finding, Severity
from corral.store.modelfile import parse
from corral.tui.actions import Where
from corral.tui.chats import new_caller
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.create import CreateDialog, NewModel
from corral.tui.draft import draft_path, keep_draft, read_draft
from corral.tui.link import StreamHandle
from corral.tui.modelfile_check import base_of, check, parameter_line, skeleton
from corral.tui.modelfile_completion import directive_line
from corral.tui.screens.modelfile_files import FileVerbs
from corral.tui.screens.modelfile_preview import model_of
from corral.tui.text import clean_line
from corral.tui.widgets.keyed_table import Column, KeyedTable, Row
from corral.tui.widgets.modelfile_editor import ModelfileEditor
from corral.tui.widgets.modelfile_preview import ModelfilePreview
from corral.tui.widgets.panel import Panel

__all__ = ["ModelfileScreen"]

_LINT_AFTER_S = 0.15
_STARTER = "smollm2:135m"
_COLUMNS = (Column("sign", "", 1), Column("place", "", 6), Column("kind", "", 7), Column("message", "", 0))


def finding_row(finding: Finding) -> Row:
    """The cells of a problem."""
    is_error = finding.severity is Severity.ERROR
    style = "error" if is_error else "warning"
    return {
        "sign": Text("✗" if is_error else "!", style=style),
        "place": Text(f"{finding.line}:{finding.column}"),
        "kind": Text(finding.severity.value, style=style),
        "message": Text(clean_line(finding.message)),
    }


class ModelfileScreen(FileVerbs):
    """The editor above, the problems below. What is typed is never thrown away without asking."""

    WHERE: ClassVar[Where] = Where.FILE
    CHANGING: ClassVar[frozenset[str]] = frozenset({"create"})
    AUTO_FOCUS = "ModelfileEditor"
    DEFAULT_CSS = """
    #file-top { height: 1fr; layout: horizontal; }
    #editor-panel { width: 2fr; }
    #preview-panel { width: 44; display: none; }
    ModelfileScreen.-preview #preview-panel { display: block; }
    #editor-note { height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    #problems-panel { height: 8; }
    ModelfileScreen.-medium #problems-panel, ModelfileScreen.-short #problems-panel { height: 5; }
    ModelfileScreen.-preview.-normal #file-top, ModelfileScreen.-preview.-narrow #file-top { layout: vertical; }
    ModelfileScreen.-preview.-normal #editor-panel, ModelfileScreen.-preview.-narrow #editor-panel { width: 1fr; }
    ModelfileScreen.-preview.-normal #preview-panel, ModelfileScreen.-preview.-narrow #preview-panel {
        width: 1fr; height: 9;
    }
    ModelfileScreen.-preview.-medium #problems-panel, ModelfileScreen.-preview.-short #problems-panel { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._findings: tuple[Finding, ...] = ()
        self._lint_timer: Timer | None = None
        self._creation: StreamHandle[Progress] | None = None
        self._creating = ""
        self._status = ""
        self._preview_wanted: bool | None = None
        self._draft: Path | None = None
        self._has_draft = False
        self._pending: tuple[str, str, Path | None] | None = None

    def compose_body(self) -> ComposeResult:
        """Editor with a line about what the cursor is on, the pane beside it, problems."""
        self._place_preview()
        with Horizontal(id="file-top"):
            with Panel("Modelfile", widget_id="editor-panel"):
                yield ModelfileEditor()
                yield Static("", id="editor-note", markup=False)
            with Panel("Preview", widget_id="preview-panel"):
                yield ModelfilePreview()
        with Panel("Problems", widget_id="problems-panel"):
            yield KeyedTable(widget_id="problems")

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the last check found."""
        return self._findings

    @property
    def models_meant(self) -> tuple[str, ...]:
        """The one that is edited, where it has a name."""
        return (self.model_name,) if self.model_name else ()

    @property
    def folder(self) -> Path:
        """Where relative paths begin."""
        return self.path.parent if self.path is not None else Path.cwd()

    def on_mount(self) -> None:
        """Begin with a text that explains itself, or with the one that was asked for before."""
        problems = self.query_one("#problems", KeyedTable)
        problems.show_header = False
        problems.set_columns(_COLUMNS)
        self._draft = draft_path(self.workbench.environ)
        draft = read_draft(self._draft)
        self.put(*(self._pending or ("", skeleton(_STARTER), None)))
        if draft and self._pending is None:
            self.editor.load_text(draft)
            self._has_draft = True
        self.editor.focus()
        self._learn_models()

    def on_screen_resume(self) -> None:
        """Ask again which models there are, and say whose text that is."""
        self._learn_models()
        if self._has_draft and self.is_current:
            self._has_draft = False
            self.tell("your draft of the last time is back; ^O opens something else")

    def on_resize(self) -> None:
        """Show the pane where there is room for it, unless somebody said otherwise."""
        self._place_preview()

    def _place_preview(self) -> None:
        if self._preview_wanted is None:
            self.set_class(self.app.size.width >= 120, "-preview")

    def action_pane(self) -> None:
        """Show or hide the pane beside the editor."""
        self._preview_wanted = not self.has_class("-preview")
        self.set_class(self._preview_wanted, "-preview")

    @work(exclusive=True, group="models", exit_on_error=False)
    async def _learn_models(self) -> None:
        models = await self.try_verb(lambda client: client.list_models())
        if models is None:
            return
        is_untouched = self.local is None and not self.is_dirty and not self.model_name and self.path is None
        self.local = tuple(model.name for model in models)
        self.editor.models = self.local
        if is_untouched and self.local and _STARTER not in self.local:
            self.put("", skeleton(self.local[0]), None)
        self._lint()

    def open_text(self, name: str, text: str) -> None:
        """Edit this model's Modelfile; asks first where that would lose what was typed."""
        if not self.is_mounted:
            self._pending = (name, text, None)
        else:
            self._replace(name, text, None)

    @work(exclusive=True, group="ask", exit_on_error=False)
    async def _replace(self, name: str, text: str, path: Path | None) -> None:
        if await self.may_lose_text():
            self.put(name, text, path)

    def put(self, name: str, text: str, path: Path | None) -> None:
        """Edit this text."""
        self.model_name, self.path = name, path
        self.editor.load_text(text)
        self.saved = self.editor.text
        self._status = ""
        self._lint()
        self._draw_frame()

    @on(TextArea.Changed)
    def _changed(self) -> None:
        if self._lint_timer is not None:
            self._lint_timer.stop()
        self._lint_timer = self.set_timer(_LINT_AFTER_S, self._lint)
        self._draw_frame()

    @on(TextArea.SelectionChanged)
    def _moved(self) -> None:
        self._draw_note()
        self.draw_help()

    @work(exclusive=True, group="lint", exit_on_error=False)
    async def _lint(self) -> None:
        text = self.editor.text
        findings = await asyncio.to_thread(check, text, local=self.local, folder=self.folder)
        if text == self.editor.text:
            self._show_findings(findings)
            self.draw_diff()
            await asyncio.to_thread(keep_draft, self._draft, text if self.is_dirty else "")

    def _show_findings(self, findings: Sequence[Finding]) -> None:
        self._findings = tuple(findings)
        self.editor.mark(self._findings)
        rows = [(str(number), finding_row(finding)) for number, finding in enumerate(self._findings)]
        self.query_one("#problems", KeyedTable).sync(rows)
        self._draw_frame()

    def settled(self) -> None:
        """Take note that nothing typed would be lost now."""
        self._lint()
        self._draw_frame()

    def _draw_frame(self) -> None:
        title = model_of(self.path, self.model_name)
        sign = "● modified" if self.is_dirty else "○ unchanged"
        errors = sum(finding.severity is Severity.ERROR for finding in self._findings)
        warnings = len(self._findings) - errors
        self.query_one("#editor-panel", Panel).entitle(
            f"Modelfile · {title}  {sign}", f"F1 keys · F2-F6 screens · ✗ {errors}  ! {warnings}"
        )
        hint = "F8 next" if self._findings else "none: F9 creates the model"
        self.query_one("#problems-panel", Panel).entitle(f"Problems {len(self._findings)}", hint)
        self._draw_note()

    def _draw_note(self) -> None:
        row, column = self.editor.cursor_location
        words = self.editor.document.get_line(row).split()
        is_parameter = len(words) > 1 and words[0].lower() == "parameter"
        known = parameter_line(words[1]) if is_parameter else directive_line(words[0]) if words else ""
        choice = self.editor.offered.line
        accept = "Tab takes it · " if self.editor.suggestion else ""
        self.write("#editor-note", clean_line(f"{row + 1}:{column + 1}  {accept}{self._status or choice or known}"))

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Tell how a creation goes."""
        handle = self._creation
        if handle is None:
            return
        is_done = handle.done
        for progress in handle.take():
            share = f" {progress.completed * 100 // progress.total}%" if progress.total else ""
            self._status = f"creating {self._creating}: {progress.status}{share}"
        if is_done:
            self._creation = None
            self._status = ""
            self._created(handle.error)
        self._draw_note()

    def _created(self, error: BaseException | None) -> None:
        if error is not None:
            self.tell_error(str(error))
            return
        self.model_name = self._creating
        self.saved = self.editor.text
        self.tell(f"created {self._creating}; 2 shows it, Enter there chats with it")
        self.settled()
        self._learn_models()

    @work(exclusive=True, group="ask", exit_on_error=False)
    async def action_create(self) -> None:
        """Ask for a name and make the model, unless the text has errors."""
        text = self.editor.text
        self._show_findings(await asyncio.to_thread(check, text, local=self.local, folder=self.folder))
        if any(finding.severity is Severity.ERROR for finding in self._findings):
            self.tell_error("there are errors: F8 goes to the next one")
            return
        if self._creation is not None:
            self.tell_error(f"{self._creating} is still being made")
            return
        wanted = await self.app.push_screen_wait(CreateDialog(self._suggested_name(text)))
        if wanted is not None and await self._may_replace(wanted.name):
            self._start(wanted, text)

    def _suggested_name(self, text: str) -> str:
        if self.model_name:
            return self.model_name
        base = Path(base_of(text)).name.removesuffix(".gguf")
        return f"my-{base.split(':')[0]}" if base and not base.startswith("sha256-") else "my-model"

    async def _may_replace(self, name: str) -> bool:
        full = name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"
        if full not in (self.local or ()):
            return True
        dialog = ConfirmDialog("Replace this model?", [f"  {full} exists already."], "Replace", "No, keep it")
        is_sure = await self.app.push_screen_wait(dialog)
        return is_sure

    def _start(self, wanted: NewModel, text: str) -> None:
        try:
            modelfile = parse(text)
        except ModelfileError as error:
            self.tell_error(str(error))
            return
        folder, caller = self.folder, new_caller("/api/create")
        self._creating = name = wanted.name
        remotes = load(self.workbench.environ, Path.home()).remotes_file
        self._creation = self.link.stream(
            lambda client: create_from_modelfile(
                client, name, modelfile, folder, caller=caller, quantize=wanted.quantize, remotes=remotes
            )
        )
        self._status = f"creating {name}"
        self._draw_note()

    def action_next_problem(self) -> None:
        """Put the cursor on the next problem, round and round."""
        if not self._findings:
            self.tell("no problems")
            return
        row, column = self.editor.cursor_location
        here = (row + 1, column + 1)
        following = next((one for one in self._findings if (one.line, one.column) > here), self._findings[0])
        self.editor.go_to(following.line, following.column)

    def action_write(self) -> None:
        """Type in the editor; on a problem, where it is."""
        problems = self.query_one("#problems", KeyedTable)
        if problems.has_focus and problems.highlighted_key is not None:
            finding = self._findings[int(problems.highlighted_key)]
            self.editor.go_to(finding.line, finding.column)
        else:
            self.editor.focus()

    def action_back(self) -> None:
        """Stop what is tried, else leave the editor for the problems, where single keys act."""
        if self.stop_trial():
            return
        self.query_one("#problems", KeyedTable).focus()
