"""The answer to one request as its runner gives it, on its way to whoever reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from corral.runtime.engine import protocol
from corral.runtime.errors import RunError

MAX_UNREAD_CHARS = 64 * 1024
_LOGPROB_CHARS = 256  # what a token's log probabilities count among the text that is not read yet


class Output(msgspec.Struct, frozen=True):
    """What came for one request since the last look: text, how many tokens it took, and the end if it is there.

    `thinking` comes before `text`, `calls` after it; `thought` of the tokens,
    counted from the answer's beginning, thinking took so far.
    """

    text: str
    tokens: int
    started: protocol.Started | None
    progress: protocol.PromptProgress | None
    finished: protocol.Finished | None
    logprobs: list[protocol.Logprob]
    thinking: str = ""
    thought: int = 0
    calls: tuple[protocol.ToolCall, ...] = ()
    rendered: protocol.Rendered | None = None


class RunnerStream:
    """The answer to one request as it arrives. What is not read yet is kept as one text, and bounded by pausing."""

    def __init__(self, request_id: int, send: Callable[[protocol.ToRunner], None]) -> None:
        self.id = request_id
        self._send = send
        self._has_news = False
        self._reader: asyncio.Future[None] | None = None
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[protocol.ToolCall] = []
        self._unread = 0
        self._tokens = 0
        self._all_tokens = 0
        self._thought = 0
        self._logprobs: list[protocol.Logprob] = []
        self._started: protocol.Started | None = None
        self._progress: protocol.PromptProgress | None = None
        self._finished: protocol.Finished | None = None
        self._rendered: protocol.Rendered | None = None
        self._error: RunError | None = None
        self._paused = False

    @property
    def over(self) -> bool:
        """Whether the runner has said its last of this request."""
        return self._finished is not None or self._rendered is not None or self._error is not None

    def put(
        self,
        message: protocol.Started | protocol.PromptProgress | protocol.Piece | protocol.Finished | protocol.Rendered,
    ) -> None:
        """Take what the runner said."""
        match message:
            case protocol.Piece():
                self._texts.append(message.text)
                self._thoughts.append(message.thinking)
                self._unread += len(message.text) + len(message.thinking) + _LOGPROB_CHARS * len(message.logprobs)
                self._logprobs += message.logprobs
                self._calls += message.tool_calls
                self._unread += sum(len(call.arguments) for call in message.tool_calls)
                self._tokens += message.tokens
                self._all_tokens += message.tokens
                if message.thinking:
                    self._thought = self._all_tokens
                if self._unread > MAX_UNREAD_CHARS and not self._paused:
                    self._paused = True
                    self._send(protocol.Pause(self.id, True))
            case protocol.Started():
                self._started = message
            case protocol.PromptProgress():
                self._progress = message
            case protocol.Finished():
                self._finished = message
            case protocol.Rendered():
                self._rendered = message
        self._wake()

    def fail(self, error: RunError) -> None:
        """End the stream with an error, unless it has ended."""
        if not self.over:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        self._has_news = True
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def take(self) -> Output:
        """Wait for something new and return all of it; for one reader at a time.

        Raises:
            RunError: the request failed; text that came before is returned by an earlier call.
        """
        while not self._has_news:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        self._has_news = False
        if self._error is not None and not self._texts:
            raise self._error
        output = Output(
            "".join(self._texts),
            self._tokens,
            self._started,
            self._progress,
            self._finished,
            self._logprobs,
            "".join(self._thoughts),
            self._thought,
            tuple(self._calls),
            self._rendered,
        )
        self._texts, self._thoughts, self._unread, self._tokens, self._logprobs = [], [], 0, 0, []
        self._calls = []
        self._started = self._progress = None
        if self._error is not None:
            self._has_news = True
        if self._paused:
            self._paused = False
            self._send(protocol.Pause(self.id, False))
        return output
