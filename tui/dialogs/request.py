"""One request in full: how long each part took, what was cut, and, where it was kept, what it said."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar, cast

from msgspec.structs import replace
from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from corral.runtime.errors import RunError
from corral.runtime.recordings import Recorded
from corral.runtime.snapshot import RequestView
from corral.runtime.verbs import ChatRequest, Chunk, Client, GenerateRequest
from corral.store.errors import StoreError
from corral.tui.chats import new_caller
from corral.tui.curl import curl_command
from corral.tui.dialogs.confirm import ConfirmDialog
from corral.tui.dialogs.details import DetailsDialog
from corral.tui.link import ServiceLink
from corral.tui.text import clean
from corral.tui.widgets import request_table

if TYPE_CHECKING:
    from corral.tui.app import WorkbenchApp

__all__ = ["RequestDialog", "body_text", "cancel_dialog"]

_LONGEST = 20_000
"""Characters of a text that are laid out at once: a megabyte would hold up the screen."""
_LOOK_S = 1.0


def body_text(recorded: Recorded) -> str:
    """A body to be read: JSON in lines, anything else as it came, not more than a screen can lay out."""
    text = recorded.body
    with contextlib.suppress(ValueError, RecursionError):  # cut off, or never JSON
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    left = max(0, len(text) - _LONGEST) + recorded.cut
    more = f"\n… {left:,} more" if left else ""
    return text[:_LONGEST] + more


def cancel_dialog(request: RequestView) -> ConfirmDialog:
    """Ask whether to stop a request."""
    so_far = f", {request.output_tokens} tokens so far" if request.output_tokens else ""
    lines = [f"  {request.client}  {request.method} {request.path}", f"  {request.model}{so_far}"]
    return ConfirmDialog("Cancel this request?", lines, "Cancel it", "No, go on")


async def _rendered(client: Client, asked: ChatRequest | GenerateRequest) -> str:
    """The prompt a model was sent, rendered once more."""
    again = replace(asked, render_only=True, progress=False, caller=new_caller("render"))
    chunks: AsyncGenerator[Chunk, None] = (
        client.chat(again) if isinstance(again, ChatRequest) else client.generate(again)
    )
    rendered = ""
    async with aclosing(chunks):
        async for chunk in chunks:
            rendered = rendered or chunk.rendered
            if chunk.text or chunk.thinking:
                break  # an engine that knows no better begins to answer: that is stopped
    return rendered


class RequestDialog(DetailsDialog):
    """Shows a request; its body and its prompt where they were kept."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "raw", "Prompt", id="request.raw"),
        Binding("C,shift+c", "curl", "curl", id="request.curl"),
        Binding("x", "cancel", "Cancel", id="request.cancel"),
    ]

    def __init__(self, request: RequestView, link: ServiceLink, serving: str) -> None:
        self._lines = request_table.detail_lines(request)
        super().__init__("Request", self._lines)
        self._request = request
        self._link = link
        self._serving = serving
        self._recorded: Recorded | None = None
        self._below = ""
        self._said = ""
        self._timer: Timer | None = None

    @property
    def copied(self) -> str:
        """The body, or the prompt once that is shown; else what is known of the request."""
        return self._said or "\n".join(self._lines)

    def on_mount(self) -> None:
        """Ask what was kept, and follow what the request does."""
        super().on_mount()
        self._show()
        self._ask()
        if request_table.is_in_flight(self._request):
            self._timer = self.set_interval(_LOOK_S, self._look)

    def _look(self) -> None:
        """Take the newest figures, as long as there are any to come."""
        now = next((one for one in self._link.latest().requests if one.id == self._request.id), self._request)
        if now != self._request:
            self._request = now
            self._lines = request_table.detail_lines(now)
            self._show()
        if self._timer is not None and not request_table.is_in_flight(now):
            self._timer.stop()

    def _show(self) -> None:
        """Write what is known of the request, what it said below, and the keys that do something now."""
        text = "\n".join([*self._lines, *(("", self._below) if self._below else ())])
        self.query_one(".dialog-text", Static).update(Content(clean(text)))
        asked = self._recorded.asked if self._recorded is not None else None
        keys = {
            "t prompt": asked is not None,
            "C curl": True,
            "y copy": True,
            "x cancel": request_table.is_in_flight(self._request),
        }
        self.text_box.border_subtitle = " · ".join([*(key for key, is_on in keys.items() if is_on), "Esc close"])

    @work(exit_on_error=False, exclusive=True)
    async def _ask(self) -> None:
        self._recorded = await self._link.call(lambda client: client.recorded(self._request.id))
        if self._recorded is None:
            here = "Its body was not kept: W keeps those of requests to come."
            self._say("Only the workbench that serves shows what requests said." if self._link.place else here)
        elif self._recorded.body:
            self._say(f"Body\n{body_text(self._recorded)}", self._recorded.body)
        else:
            self._say("It had no body: it came from this screen.")

    def _say(self, text: str, said: str = "") -> None:
        """Write `text` below what is known of the request; `said` is what was sent, all of it."""
        self._said, self._below = said, text
        self._show()

    @work(exit_on_error=False, exclusive=True)
    async def action_raw(self) -> None:
        """Show the prompt as the model was sent it."""
        asked = self._recorded.asked if self._recorded is not None else None
        if asked is None:
            where = "the workbench that serves" if self._link.place else "W, which keeps requests to come,"
            self.notify(f"its prompt was not kept: only {where} has it", markup=False)
            return
        try:
            prompt = await self._link.call(lambda client: _rendered(client, asked))
        except (RunError, StoreError) as error:
            self.notify(clean(str(error)), severity="error", markup=False)
            return
        left = f"\n… {len(prompt) - _LONGEST:,} more" if len(prompt) > _LONGEST else ""
        told = f"Prompt\n{prompt[:_LONGEST]}{left}" if prompt else "The engine does not tell this model's prompt."
        self._say(told, prompt)
        self.text_box.scroll_to(y=len(self._lines), animate=False)

    def action_curl(self) -> None:
        """Copy the request as a curl command, with its body where that was kept whole."""
        recorded = self._recorded
        body = recorded.body if recorded is not None and not recorded.cut else ""
        self.app.copy_to_clipboard(curl_command(self._request, self._serving, body))

    @work(exit_on_error=False, group="cancel", exclusive=True)
    async def action_cancel(self) -> None:
        """Ask whether to stop the request, and stop it."""
        app, now = cast("WorkbenchApp", self.app), self._link.latest().requests
        request = next((one for one in now if one.id == self._request.id), self._request)
        if not request_table.is_in_flight(request):
            self.notify("this request has ended", markup=False)
        elif not app.confirms or await app.push_screen_wait(cancel_dialog(request)):
            try:
                stopped = await self._link.call(lambda client: client.cancel(request.id))
            except (RunError, StoreError) as error:
                self.notify(clean(str(error)), severity="error", markup=False)
            else:
                self.notify("stopped" if stopped else "it had ended already", markup=False)
