"""A chat as a file: Markdown to read, JSON with everything, JSON lines as OpenAI's clients send messages."""

from __future__ import annotations

import base64
import json
import os
import re
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from corral.tui.chats import Chat
from corral.tui.turns import Turn

__all__ = ["ExportFormat", "export_text", "file_name", "write_export"]


class ExportFormat(StrEnum):
    """What a chat can be written as; the value is the file's ending."""

    MARKDOWN = "md"
    JSON = "json"
    LINES = "jsonl"


def export_text(chat: Chat, form: ExportFormat) -> str:
    """Return a chat as text. Markdown and JSON lines have the branch that is read, JSON all of them."""
    match form:
        case ExportFormat.MARKDOWN:
            return _markdown(chat)
        case ExportFormat.JSON:
            return json.dumps(_tree(chat), indent=2, ensure_ascii=False) + "\n"
        case ExportFormat.LINES:
            messages: list[dict[str, object]] = [{"role": "system", "content": chat.settings.system}]
            messages = messages if chat.settings.system else []
            messages += [_openai(turn) for turn in chat.turns if turn.text or turn.tool_calls or turn.attached]
            return json.dumps({"messages": messages}, ensure_ascii=False) + "\n"


def file_name(chat: Chat, form: ExportFormat) -> str:
    """A name for the file, from the chat's title."""
    words = re.sub(r"[^\w-]+", "-", chat.title.casefold()).strip("-")[:48].rstrip("-")
    return f"{words or 'chat'}.{form}"


def write_export(text: str, path: Path) -> None:
    """Write a file that is not there yet; nobody else may read it.

    Raises:
        OSError: it is there, or cannot be written.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text.encode("utf-8", "replace").decode("utf-8"))


def _markdown(chat: Chat) -> str:
    parts = [f"# {chat.title}\n"]
    if chat.settings.system:
        parts.append(f"## system\n\n{chat.settings.system}\n")
    for turn in chat.turns:
        who = turn.model if turn.role == "assistant" and turn.model else turn.role
        at = datetime.fromtimestamp(turn.wall_s, UTC).strftime("%Y-%m-%d %H:%M")
        parts.append(f"## {who} · {at}\n")
        if turn.thinking:
            quoted = "\n".join(f"> {line}" for line in turn.thinking.strip().split("\n"))
            parts.append(f"{quoted}\n")
        parts.append(f"{turn.message().content.strip()}\n")
        parts += [f"```json\n{_json({'name': one.name, 'arguments': one.arguments})}\n```\n" for one in turn.tool_calls]
        parts += [f"*image: {one.name}*\n" for one in turn.attached if one.is_image]
    return "\n".join(parts)


def _openai(turn: Turn) -> dict[str, object]:
    """A message as OpenAI's clients send it: images as data, arguments of calls as a text of JSON."""
    message = turn.message()
    said: dict[str, object] = {"role": message.role, "content": message.content}
    if message.images:
        shown = [{"type": "image_url", "image_url": {"url": _data_url(one)}} for one in message.images]
        said["content"] = [{"type": "text", "text": message.content}, *shown]
    if message.tool_calls:
        said["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _json(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        said["tool_call_id"] = message.tool_call_id
    return said


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _data_url(image: bytes) -> str:
    kinds = {b"\x89PNG": "png", b"GIF8": "gif", b"RIFF": "webp"}
    kind = kinds.get(image[:4], "bmp" if image.startswith(b"BM") else "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"


def _tree(chat: Chat) -> dict[str, object]:
    saved = chat.saved()
    return {
        "title": saved.title,
        "model": saved.model,
        "created": datetime.fromtimestamp(saved.created_s, UTC).isoformat(),
        "changed": datetime.fromtimestamp(saved.changed_s, UTC).isoformat(),
        "settings": dict(saved.settings),
        "turns": [_turn(turn) for turn in chat.root.walk() if turn is not chat.root],
    }


def _turn(turn: Turn) -> dict[str, object]:
    saved = turn.saved()
    said: dict[str, object] = {"id": saved.id, "parent": saved.parent, "is_read": saved.is_picked, "role": saved.role}
    said |= {
        "text": saved.text,
        "thinking": saved.thinking,
        "at": datetime.fromtimestamp(saved.wall_s, UTC).isoformat(),
    }
    said["files"] = [one.name for one in saved.attached]
    return {name: value for name, value in said.items() if value != []} | dict(saved.about)
