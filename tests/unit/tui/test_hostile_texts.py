"""Ten thousand hostile texts through every function that draws: nothing is left that a terminal would obey."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from rich.text import Text
from wcwidth import wcswidth

from corral.runtime.snapshot import (
    ClientView,
    EventView,
    ListenerView,
    LogLine,
    QueueView,
    TransferView,
)
from corral.runtime.upkeep import UnfinishedPull
from corral.runtime.verbs import DeletePlan, ToolCall
from corral.store.sessions import Attached
from corral.tui.chats import Chat
from corral.tui.clipboard import prepare
from corral.tui.dialogs.ask import AskDialog
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.delete import delete_dialog
from corral.tui.dialogs.details import DetailsDialog
from corral.tui.dialogs.quit import QuitDialog
from corral.tui.modelfile_diff import Change, Sign
from corral.tui.text import SIGN_EACH, clean, clean_line, fit
from corral.tui.turns import Turn, TurnState
from corral.tui.widgets import (
    client_table,
    event_log,
    loaded_table,
    log_view,
    model_info,
    model_panel,
    model_table,
    queue_table,
    rail,
    request_table,
    slot_table,
    transfers,
)
from corral.tui.widgets.glyphs import Glyphs
from corral.tui.widgets.listener import listener_lines
from corral.tui.widgets.markdown import render
from corral.tui.widgets.modelfile_preview import diff_text
from corral.tui.widgets.said import Look, frozen
from corral.tui.widgets.thoughts import thoughts
from corral.tui.widgets.tool_calls import tool_call_lines
from tests.fakes.client import DETAILS, summary
from tests.fakes.hostile import LONG, OBEYED, texts
from tests.fakes.moment import AT_S, WALL_S, model, moment, request

COUNT = 10_000
NOW = datetime(2026, 6, 3, tzinfo=UTC)
MOMENT = moment()


def cells(row: Mapping[str, Text]) -> str:
    return " ".join(cell.plain for cell in row.values())


def turn(role: str, text: str, state: TurnState = TurnState.DONE) -> Turn:
    return Turn(
        role,
        WALL_S,
        text,
        state,
        model=text,
        problem=text,
        warnings=(text,),
        thinking=text,
        tool_calls=(ToolCall(text, {text: text}, text),),
        tool_name=text,
        attached=(Attached(text, b""),),
    )


def question(text: str) -> str:
    return frozen(turn("user", text), Look(is_open=True, found="e")).plain


def answer(text: str) -> str:
    return frozen(turn("assistant", text, TurnState.FAILED), Look(code=0)).plain


def tool_result(text: str) -> str:
    return frozen(turn("tool", text)).plain


def growing(text: str) -> str:
    return render(text, is_growing=True).plain


def thinking(text: str) -> str:
    live = turn("assistant", "", TurnState.LIVE)
    live.thinking = text
    return thoughts(live, 40, is_open=False).plain + thoughts(live, 40, is_open=True).plain


def calls(text: str) -> str:
    call = ToolCall(text, {text: {"deep": [text]}}, text)
    return tool_call_lines(call, is_open=False).plain + tool_call_lines(call, is_open=True).plain


def side(text: str) -> str:
    snapshot = replace(MOMENT, models=(model(text),), transfers=(TransferView("t", text, text, 0, 0, 0.0),))
    chat = Chat(1, text)
    chat.name = text
    return "\n".join([rail._chat_line(chat), *rail._model_lines(snapshot), *rail._transfer_lines(snapshot)])


def in_store(text: str) -> str:
    details = replace(DETAILS, parameter_size=text, quantization_level=text)
    stored = replace(summary("m"), name=text, details=details, capabilities=(text,))
    return cells(model_table.row(stored, model_table.Sight(), NOW))


def in_memory(text: str) -> str:
    view = model(text, aliases=(text,), worth=text, expected_bytes=1, leaves=1)
    drawn = cells(loaded_table.row(view, is_wide=True, glyphs=Glyphs.BLOCK))
    return "\n".join([drawn, *model_panel.model_lines(view, 40, Glyphs.BLOCK)])


def asked(text: str) -> str:
    view = request(1, client=text, method=text, path=text, model=text, note=text, warnings=(text,))
    table = cells(request_table.row(view)) + cells(slot_table.row(view, "m", AT_S))
    return "\n".join([table, *request_table.detail_lines(view), request_table.why(view)])


def waiting(text: str) -> str:
    queue = [QueueView(text, text, text, AT_S, text)]
    return "\n".join([*(cells(row) for _, row in queue_table.rows(queue, AT_S)), queue_table.title(queue, AT_S)])


def served(text: str) -> str:
    one = ListenerView(text, WALL_S, origins=(text,))
    lines = [*listener_lines(replace(MOMENT, listeners=(one,))), *listener_lines(replace(MOMENT, trouble=text))]
    return "\n".join([*lines, *listener_lines(replace(MOMENT, serving=text, listeners=()))])


def clients(text: str) -> str:
    return "\n".join(cells(row) for _, row in client_table.rows(client_table.usages([ClientView(text)], [])))


def log(text: str) -> str:
    event = cells(event_log.event_row(EventView(0, text, text, text)))
    return log_view.log_text(LogLine(1, WALL_S, text, text, text)) + event


def moved(text: str) -> str:
    left = UnfinishedPull(text, 1, 2, WALL_S)
    row = transfers.transfer_row(TransferView(text, text, text, 1, 2, 1.0), bar_cells=4, glyphs=Glyphs.BLOCK)
    return cells(row) + cells(transfers.unfinished_row(left, bar_cells=4, glyphs=Glyphs.BLOCK, now=NOW))


def details(text: str) -> str:
    return model_info.whole_text(text, "").plain + diff_text([Change(Sign.ADDED, text)], "").plain


def asks(text: str) -> str:
    one, several = (delete_dialog(DeletePlan((text,) * number, 1, 1, (text,), (text,))) for number in (1, 2))
    assert isinstance(one, ConfirmDialog)
    assert isinstance(several, AskDialog)
    shown = (one, QuitDialog([request(1, client=text, path=text, model=text)], text, can_detach=True))
    lines = [line for dialog in shown for line in (dialog._title, *dialog._lines, dialog._yes_label)]
    return "\n".join([*lines, several._title, several._lines])


def told(text: str) -> str:
    dialog = DetailsDialog(text, [text])
    return dialog._title + dialog._text


def lines(text: str) -> str:
    return clean(text) + clean_line(text) + fit(text, 7) + fit(text, 70, pad=True)


def typed(text: str) -> str:
    return text.translate(SIGN_EACH)


DRAWN: list[Callable[[str], str]] = [
    lines, question, answer, tool_result, growing, thinking, calls, side, in_store, in_memory, asked, waiting, served,
    clients, log, moved, details, asks, told, typed,
]  # fmt: skip


@pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__)
def test_nothing_that_is_drawn_is_obeyed(draw: Callable[[str], str]) -> None:
    for text in texts(COUNT):
        drawn = draw(text)
        found = OBEYED.search(drawn)
        assert found is None, f"{found!r} left of {text!a}"


def is_known(character: str) -> bool:
    """Whether the tables that ship with Python, Rich and the judge are all new enough to know it."""
    return unicodedata.category(character) != "Cn"


def test_every_character_takes_the_cells_that_terminals_give_it() -> None:
    wrong = [
        f"U+{ord(character):04X}"
        for character in map(chr, range(0x110000))
        if is_known(character)
        for shown in [clean_line(character)]
        if shown and cell_len(shown) != wcswidth(shown)
    ]
    assert wrong == []


def is_agreed(character: str) -> bool:
    """Whether terminals agree on the cells it takes behind others: of marks on strange letters they do not."""
    return is_known(character) and unicodedata.category(character) not in ("Mc", "Mn", "Me")


def test_every_text_takes_the_cells_that_terminals_give_it() -> None:
    for text in texts(COUNT):
        shown = "".join(filter(is_agreed, clean_line(text)))
        assert cell_len(shown) == wcswidth(shown), f"{text!a} as {shown!a}"
        assert cell_len(fit(text, 20, pad=True)) == 20


@pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__)
def test_a_long_line_is_drawn_in_no_time(draw: Callable[[str], str]) -> None:
    began_s = time.thread_time()
    clean(LONG)
    cleaned_s = time.thread_time()
    assert OBEYED.search(draw(LONG)) is None
    # What grows with the square takes a hundred thousand times as long.
    assert time.thread_time() - cleaned_s < 500 * (cleaned_s - began_s) + 0.1


def test_what_goes_to_the_clipboard_ends_no_sequence() -> None:
    for text in texts(COUNT):
        sequence = prepare(text, {}).sequence
        assert sequence.startswith("\x1b]52;c;")
        assert sequence.endswith("\x07")
        assert sequence[7:-1].isascii()
        assert sequence[7:-1].isprintable()
