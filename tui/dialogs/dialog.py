"""What every dialog is: a screen over another that gives one answer, once."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

__all__ = ["Dialog"]

Result = TypeVar("Result")


class Dialog(ModalScreen[Result], Generic[Result]):
    """A screen that can be dismissed as often as keys and clicks ask for it: the first answer holds."""

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Give the answer, or do nothing where another screen is on top, or this one is gone.

        Textual takes away whatever is on top, were it the last screen. A line that was submitted is still on its way
        when Escape, whose way is shorter, has closed the dialog already.
        """
        stack = self.app.screen_stack
        return super().dismiss(result) if stack and stack[-1] is self else AwaitComplete()
