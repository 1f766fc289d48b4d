"""Telling somebody who looks elsewhere: the terminal's title says how much runs, a signal that something has ended.

Both are escape sequences, which pass through ssh. Signals go out only while the terminal is not looked at, which it
has to tell us (focus events); one that does not gets none.
"""

from __future__ import annotations

from collections.abc import Mapping

from corral.runtime.snapshot import EventView, RequestView, Snapshot
from corral.tui.chats import CLIENT
from corral.tui.clipboard import through_multiplexer
from corral.tui.states import IN_FLIGHT
from corral.tui.text import clean_line

__all__ = ["TITLE_BACK", "Attention", "ended", "signal_sequence", "title_sequence"]

TITLE_BACK = "\x1b[23;2t"
"""Gives the terminal the title it had before the first of ours (XTWINOPS)."""
_KEEP_TITLE = "\x1b[22;2t"
_LONG_S = 5.0
"""A request of this screen that took less was waited for at the screen."""
_KINDS = frozenset({"pull", "push", "create", "verify"})
_LONGEST = 100


def title(snapshot: Snapshot) -> str:
    """`● 3 running · corral`, or `corral`; a list of tabs shows the sign first."""
    running = sum(one.state in IN_FLIGHT for one in snapshot.requests)
    return f"● {running} running · corral" if running else "corral"


def title_sequence(text: str) -> str:
    """Set the terminal's title (xterm's OSC 2; tmux shows it as the pane's)."""
    return f"\x1b]2;{clean_line(text)}\x07"


def signal_sequence(text: str, environ: Mapping[str, str]) -> str:
    """A bell, and a notification as iTerm2, kitty and WezTerm (OSC 9) and urxvt and foot (OSC 777) know it."""
    said = clean_line(text)[:_LONGEST].replace(";", ",")
    notes = through_multiplexer(f"\x1b]9;{said}\x07", environ) + through_multiplexer(
        f"\x1b]777;notify;corral;{said}\x07", environ
    )
    return f"\x07{notes}"


def ended(before: Snapshot, now: Snapshot) -> list[str]:
    """What somebody may have waited for and has ended since: long answers of this screen, pulls, creates."""
    running = {one.id for one in before.requests if one.state in IN_FLIGHT}
    told = [_told(one) for one in now.requests if one.id in running and _was_waited_for(one)]
    known = set(before.events)
    return told + [_event(one) for one in now.events if one.kind in _KINDS and one not in known]


def _was_waited_for(request: RequestView) -> bool:
    took_s = (request.ended_s or 0.0) - request.started_s
    return request.client == CLIENT and request.ended_s is not None and took_s >= _LONG_S


def _told(request: RequestView) -> str:
    return f"{request.model} has answered" if not request.note else f"{request.model}: {request.note}"


def _event(event: EventView) -> str:
    return f"{event.kind} {event.text}"


class Attention:
    """Compares snapshots. Gives the sequences to be written to the terminal, "" for none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._before: Snapshot | None = None
        self._title = ""

    def sequences(self, now: Snapshot, *, is_looked_at: bool) -> str:
        """What to write now that this snapshot is the newest."""
        before, self._before = self._before, now
        if now is before:
            return ""
        written = ""
        if (text := title(now)) != self._title:
            written = ("" if self._title else _KEEP_TITLE) + title_sequence(text)
            self._title = text
        if before is not None and not is_looked_at:
            done = ended(before, now)
            more = f" and {len(done) - 1} more" if len(done) > 1 else ""
            written += signal_sequence(f"{done[0]}{more}", self._environ) if done else ""
        return written
