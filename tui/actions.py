"""Every action a key can do, once: bindings, footer, palette and help are made from this registry.

One letter means one thing on every screen. Nothing lives on a control letter, F10 to F12 or a modified Enter alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec
from textual.binding import Binding

__all__ = ["ACTIONS", "Action", "Where", "actions_for", "bindings_for", "shown_key", "shown_keys"]


class Where(StrEnum):
    """The place an action belongs to: the whole app, a screen, or a part of one."""

    APP = "app"
    CHAT = "chat"
    PROMPT = "prompt"
    MODELS = "models"
    TRANSFERS = "transfers"
    RUNNING = "running"
    FILE = "file"
    SERVER = "server"


class Action(msgspec.Struct, frozen=True):
    """Something a key does.

    `keys` are Textual's names, comma-separated, "" for what is found by its name alone; `label` is the word in the
    footer ("" keeps it out), `description` the line in help and palette; `action` is Textual's action string.
    `is_priority` keys act while typing too.
    """

    id: str
    keys: str
    label: str
    description: str
    where: Where
    action: str
    is_priority: bool = False

    def bindings(self) -> Iterator[Binding]:
        """One binding a key; the first key is the one that is shown and can be remapped."""
        for number, key in enumerate(self.keys.split(",") if self.keys else ()):
            yield Binding(
                key,
                self.action,
                self.label or self.description,
                show=bool(self.label) and number == 0,
                priority=self.is_priority,
                tooltip=self.description,
                id=self.id if number == 0 else f"{self.id}.{number + 1}",
                key_display=_DISPLAY.get(key),
            )


_DISPLAY = {
    "question_mark": "?",
    "colon": ":",
    "slash": "/",
    "enter": "⏎",
    "escape": "Esc",
    "space": "␣",
    "minus": "-",
    "equals_sign": "=",
    "plus": "+",
    "exclamation_mark": "!",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "ctrl+j": "^J",
    "f8": "F8",
    "f9": "F9",
    "ctrl+l": "^L",
    "ctrl+s": "^S",
    "ctrl+o": "^O",
    "ctrl+r": "^R",
    "f7": "F7",
    "ctrl+@": "^Space",
}

_NAMES = {
    **_DISPLAY,
    "asterisk": "*",
    "ampersand": "&",
    "full_stop": ".",
    "comma": ",",
    "semicolon": ";",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "home": "Home",
    "end": "End",
}

_APP = (
    Action("go.chat", "1", "", "Go to Chat", Where.APP, "go('chat')"),
    Action("go.models", "2", "", "Go to Models", Where.APP, "go('models')"),
    Action("go.running", "3", "", "Go to Running", Where.APP, "go('running')"),
    Action("go.file", "4", "", "Go to Modelfile", Where.APP, "go('file')"),
    Action("go.server", "5", "", "Go to Server", Where.APP, "go('server')"),
    Action("go.chat.always", "f2", "", "Go to Chat, while typing too", Where.APP, "go('chat')", True),
    Action("go.models.always", "f3", "", "Go to Models, while typing too", Where.APP, "go('models')", True),
    Action("go.running.always", "f4", "", "Go to Running, while typing too", Where.APP, "go('running')", True),
    Action("go.file.always", "f5", "", "Go to Modelfile, while typing too", Where.APP, "go('file')", True),
    Action("go.server.always", "f6", "", "Go to Server, while typing too", Where.APP, "go('server')", True),
    Action("command", "colon", "command", "Type a command", Where.APP, "command_line"),
    Action(
        "command.palette", "ctrl+p,ctrl+@", "", "Find a command, while typing too", Where.APP, "command_palette", True
    ),
    Action("help", "question_mark", "help", "Show the keys that work here", Where.APP, "help"),
    Action("help.always", "f1", "", "Show the keys, while typing too", Where.APP, "help", True),
    Action("jump", "semicolon", "", "Put letters on the panes, to jump to one", Where.APP, "jump"),
    Action("zoom", "z", "", "Give this pane all the room, or the others theirs back", Where.APP, "zoom"),
    Action("mouse", "M,shift+m", "", "Leave the mouse to the terminal, or take it back", Where.APP, "mouse"),
    Action("redraw", "ctrl+l", "", "Clear the screen and draw all of it again", Where.APP, "redraw", True),
    Action("hosts", "H,shift+h", "", "Choose the server that is shown", Where.APP, "hosts"),
    Action("theme", "", "", "Choose a theme, seeing each", Where.APP, "line('theme')"),
    Action("settings", "", "", "List all settings, to change one", Where.APP, "line('set all')"),
    Action("detach", "D,shift+d", "", "Give the terminal back and go on serving", Where.APP, "detach"),
    Action("quit", "q", "quit", "Leave the workbench", Where.APP, "quit"),
    Action("quit.always", "ctrl+q", "", "Leave the workbench, while typing too", Where.APP, "quit", True),
    Action("interrupt", "ctrl+c", "", "Copy what is selected, else stop the answer", Where.APP, "interrupt", True),
)

_CHAT = (
    Action("stop", "escape", "stop", "Stop the answer and keep its text; leave marks", Where.CHAT, "stop"),
    Action("prompt.focus", "enter,i", "write", "Write in the prompt", Where.CHAT, "write"),
    Action("fetch", "f", "fetch the starter model", "Fetch the starter model", Where.CHAT, "fetch_starter"),
    Action("model.pick", "m", "model", "Choose the model of this chat", Where.CHAT, "pick_model"),
    Action("chat.new", "a", "new chat", "Start another chat", Where.CHAT, "new_chat"),
    Action("again", "r", "again", "Answer the last question again", Where.CHAT, "regenerate"),
    Action("again.with", "A,shift+a", "", "Answer it again with another model", Where.CHAT, "regenerate_with"),
    Action("more", "plus", "", "Go on where the answer was cut", Where.CHAT, "go_on"),
    Action("copy", "y", "copy", "Copy the last answer, or what is chosen", Where.CHAT, "copy_answer"),
    Action("copy.all", "Y,shift+y", "", "Copy the whole chat", Where.CHAT, "copy_chat"),
    Action("select", "V,shift+v", "", "Select lines: j k move, y copies, Esc leaves", Where.CHAT, "select"),
    Action("code.next", "c", "", "Copy the code of the answer, block by block", Where.CHAT, "copy_code"),
    Action("chat.edit", "e", "edit", "Say the question in other words, on a branch", Where.CHAT, "edit"),
    Action("variant.prev", "left_square_bracket", "", "Read the variant before", Where.CHAT, "variant(-1)"),
    Action("variant.next", "right_square_bracket", "", "Read the next variant", Where.CHAT, "variant(1)"),
    Action("turn.before", "K,shift+k", "", "Choose the message before, for keys to act on", Where.CHAT, "choose(-1)"),
    Action("turn.after", "J,shift+j", "", "Choose the next message", Where.CHAT, "choose(1)"),
    Action("chat.fork", "F,shift+f", "", "Go on from here in a chat of its own", Where.CHAT, "fork"),
    Action("chat.delete", "d", "", "Delete the chosen message, or the chat", Where.CHAT, "delete"),
    Action("undo", "U,shift+u", "", "Bring back what was deleted last", Where.CHAT, "undo"),
    Action("chat.history", "h", "history", "Find chats by what was said in them", Where.CHAT, "sessions"),
    Action("find.all", "ctrl+f", "", "Find chats, while typing too", Where.CHAT, "sessions", True),
    Action("chat.rename", "R,shift+r", "", "Name this chat", Where.CHAT, "rename"),
    Action("chat.archive", "T,shift+t", "", "Put this chat away, or have it listed again", Where.CHAT, "archive"),
    Action("chat.export", "E,shift+e", "", "Write this chat to a file", Where.CHAT, "export"),
    Action("chat.options", "O,shift+o", "options", "Options, system prompt, thinking, format", Where.CHAT, "options"),
    Action("split", "v", "", "Ask a second model beside this one, or stop that", Where.CHAT, "split"),
    Action("raw", "t", "", "Show what the model is sent, and its tokens", Where.CHAT, "raw"),
    Action("chat.find", "slash", "", "Find words in this chat", Where.CHAT, "find"),
    Action("find.next", "n", "", "Go to the next place found", Where.CHAT, "find_next(1)"),
    Action("find.prev", "N,shift+n", "", "Go to the place found before", Where.CHAT, "find_next(-1)"),
    Action("thoughts", "o", "", "Open thoughts, calls, results and images, or fold them", Where.CHAT, "thoughts"),
    Action("rail", "b", "chats", "Show or hide the list of chats", Where.CHAT, "rail"),
    Action("chat.next", "full_stop", "", "Go to the next chat", Where.CHAT, "switch_chat(1)"),
    Action("chat.previous", "comma", "", "Go to the chat before", Where.CHAT, "switch_chat(-1)"),
    Action("nav.end", "G,shift+g,end", "", "Go to the end and follow it", Where.CHAT, "follow"),
    Action("nav.home", "g,home", "", "Go to the beginning", Where.CHAT, "to_top"),
    Action("nav.down", "j,down", "", "Scroll down", Where.CHAT, "scroll_lines(1)"),
    Action("nav.up", "k,up", "", "Scroll up", Where.CHAT, "scroll_lines(-1)"),
    Action("nav.page_down", "ctrl+d,pagedown", "", "Scroll down half a page", Where.CHAT, "scroll_half(1)"),
    Action("nav.page_up", "ctrl+u,pageup", "", "Scroll up half a page", Where.CHAT, "scroll_half(-1)"),
)

_PROMPT = (
    Action("prompt.send", "enter", "send", "Send the prompt", Where.PROMPT, "send"),
    Action("prompt.newline", "ctrl+j,alt+enter,shift+enter", "newline", "Start a new line", Where.PROMPT, "newline"),
    Action("prompt.leave", "escape", "keys", "Leave the prompt, so that single keys act", Where.PROMPT, "leave"),
    Action("prompt.older", "up", "", "In the first line: the prompt before", Where.PROMPT, "older"),
    Action("prompt.newer", "down", "", "In the last line: the prompt after", Where.PROMPT, "newer"),
    Action("prompt.complete", "tab", "", "Take the suggestion for / or @", Where.PROMPT, "complete"),
    Action("prompt.history", "ctrl+r", "", "Find an earlier prompt", Where.PROMPT, "search_history"),
    Action("edit.external", "f7", "", "Write in your own editor ($EDITOR)", Where.PROMPT, "edit_external"),
)

_MODELS = (
    Action("models.open", "enter", "chat", "Chat with the model", Where.MODELS, "open"),
    Action("model.load", "l", "load", "Load the model into memory", Where.MODELS, "load"),
    Action("model.unload", "u", "unload", "Take the model out of memory", Where.MODELS, "unload"),
    Action("pull", "p", "pull", "Fetch a model", Where.MODELS, "pull"),
    Action("delete", "d", "delete", "Delete the model, after a look at what it frees", Where.MODELS, "delete"),
    Action("models.undo", "U,shift+u", "", "Undo the last delete or unload", Where.MODELS, "undo"),
    Action("model.pin", "P,shift+p", "", "Keep the model in memory for ever, or no longer", Where.MODELS, "pin"),
    Action("mark", "space", "mark", "Mark the model, to do something with several at once", Where.MODELS, "mark"),
    Action("mark.range", "V,shift+v", "", "Mark all from the last mark to here", Where.MODELS, "mark_range"),
    Action(
        "mark.invert", "asterisk", "", "Mark what is not marked and the other way round", Where.MODELS, "invert_marks"
    ),
    Action("model.copy", "c", "", "Give the model a second name", Where.MODELS, "copy"),
    Action("rename", "R,shift+r", "", "Rename the model", Where.MODELS, "rename"),
    Action("copy.name", "y", "", "Copy the model's name to the clipboard", Where.MODELS, "copy_name"),
    Action("model.update", "", "", "Pull the models again, to have their newest version", Where.MODELS, "update"),
    Action("model.outdated", "", "", "Ask the registries for newer versions", Where.MODELS, "outdated"),
    Action("model.verify", "", "", "Read every byte of the models and check it", Where.MODELS, "verify"),
    Action("model.push", "", "", "Send the model to its registry", Where.MODELS, "push"),
    Action("model.import", "", "", "Make a model of a GGUF file on this machine", Where.MODELS, "import_file"),
    Action("store.gc", "", "", "Remove files that no model needs", Where.MODELS, "clean_up"),
    Action("edit", "e", "edit", "Edit the model's Modelfile", Where.MODELS, "edit"),
    Action("models.find", "slash", "filter", "Filter: letters in order, !not, re:pattern", Where.MODELS, "find"),
    Action("sort", "s", "", "Sort by the next column", Where.MODELS, "sort"),
    Action("sort.reverse", "S,shift+s", "", "Turn the order round", Where.MODELS, "reverse"),
    Action("models.cancel", "x", "", "Cancel a transfer", Where.MODELS, "cancel"),
    Action("info", "i", "info", "Show or hide the details", Where.MODELS, "info"),
    Action("info.next", "right_square_bracket,right", "", "Show the next part of the details", Where.MODELS, "tab(1)"),
    Action("info.previous", "left_square_bracket,left", "", "Show the part before", Where.MODELS, "tab(-1)"),
    Action("models.again", "r", "", "Read the list again", Where.MODELS, "again"),
    Action("models.fetch", "f", "", "Fetch the starter model", Where.MODELS, "fetch_starter"),
    Action("models.back", "escape", "", "Clear the filter, then the marks", Where.MODELS, "back"),
)

_TRANSFERS = (
    Action("transfer.pause", "space", "pause", "Pause the pull, or go on with it", Where.TRANSFERS, "screen.pause"),
    Action("transfer.resume", "r", "resume", "Go on with the pull that was left", Where.TRANSFERS, "screen.resume"),
    Action("transfer.drop", "d", "drop", "Remove what came of the pull", Where.TRANSFERS, "screen.drop"),
    Action(
        "transfer.cancel", "x", "cancel", "Cancel the transfer; what came is kept", Where.TRANSFERS, "screen.cancel"
    ),
    Action("transfer.leave", "escape", "list", "Go back to the list", Where.TRANSFERS, "screen.leave_transfers"),
)

_RUNNING = (
    Action("running.unload", "u", "unload", "Take the model out of memory", Where.RUNNING, "unload"),
    Action("running.load", "l", "load", "Choose a model to be loaded", Where.RUNNING, "load"),
    Action("running.pin", "P,shift+p", "pin", "Keep the model whoever wants room, or no longer", Where.RUNNING, "pin"),
    Action("running.extend", "plus", "extend", "Let the model stay five minutes longer", Where.RUNNING, "extend"),
    Action("running.undo", "U,shift+u", "", "Load what was unloaded last", Where.RUNNING, "undo"),
    Action("running.cancel", "x", "cancel", "Cancel the request under the cursor", Where.RUNNING, "cancel"),
    Action("running.info", "i", "info", "Show the model in full, or the gauges", Where.RUNNING, "info"),
    Action("gpu.next", "right_square_bracket", "", "Show the next GPU", Where.RUNNING, "switch_gpu(1)"),
    Action("gpu.previous", "left_square_bracket", "", "Show the GPU before", Where.RUNNING, "switch_gpu(-1)"),
    Action("running.find", "slash", "", "Filter the events: letters in order, !not, re:pattern", Where.RUNNING, "find"),
    Action("running.kinds", "K,shift+k", "kinds", "Show events of the next kind only", Where.RUNNING, "kinds"),
    Action("running.back", "escape", "", "Clear the filter of the events", Where.RUNNING, "back"),
    Action("pause", "space", "pause", "Freeze the gauges, or let them go on", Where.RUNNING, "pause"),
    Action("rate.down", "minus", "slower", "Draw less often", Where.RUNNING, "slower"),
    Action("rate.up", "equals_sign", "faster", "Draw more often", Where.RUNNING, "faster"),
    Action("glyphs", "B,shift+b", "glyphs", "Draw graphs with braille, blocks or ASCII", Where.RUNNING, "glyphs"),
)

_FILE = (
    Action("file.create", "f9", "create", "Create the model", Where.FILE, "create"),
    Action("file.problem", "f8", "problem", "Go to the next problem", Where.FILE, "next_problem"),
    Action("file.save", "ctrl+s", "save", "Save the draft to a file", Where.FILE, "save"),
    Action("file.open", "ctrl+o", "open", "Open a Modelfile from a file", Where.FILE, "open_file"),
    Action("file.try", "ctrl+r", "try", "Ask what the model would answer, without making it", Where.FILE, "try"),
    Action("file.edit", "f7", "$EDITOR", "Write in your own editor", Where.FILE, "edit_external", True),
    Action("file.pane", "b", "", "Show or hide diff, prompt, try and help", Where.FILE, "pane"),
    Action("file.part.next", "right_square_bracket", "", "Show the next of them", Where.FILE, "tab(1)"),
    Action("file.part.previous", "left_square_bracket", "", "Show the one before", Where.FILE, "tab(-1)"),
    Action("file.write", "i,enter", "", "Write in the editor", Where.FILE, "write"),
    Action("file.back", "escape", "leave", "Leave the editor, so that single keys act", Where.FILE, "back"),
)

_SERVER = (
    Action("server.open", "enter", "details", "Show all there is to know about the request", Where.SERVER, "open"),
    Action("cancel", "x", "cancel", "Cancel the request", Where.SERVER, "cancel"),
    Action("copy.curl", "C,shift+c", "curl", "Copy the request as a curl command", Where.SERVER, "curl"),
    Action("server.find", "slash", "filter", "Filter the requests; in the log, find words", Where.SERVER, "find"),
    Action("log.filter", "ampersand", "", "Show only lines of the log that pass a filter", Where.SERVER, "filter_log"),
    Action("log.next", "n", "", "Go to the next line found in the log", Where.SERVER, "find_next(1)"),
    Action("log.prev", "N,shift+n", "", "Go to the line found before", Where.SERVER, "find_next(-1)"),
    Action("follow", "f", "follow", "Stay with the newest of requests or log, or stop", Where.SERVER, "follow"),
    Action("errors", "exclamation_mark", "errors", "Show errors only, or everything", Where.SERVER, "errors"),
    Action("server.pause", "space", "pause", "Hold requests and log still, or let them go on", Where.SERVER, "pause"),
    Action("level.down", "less_than_sign", "", "Show more of the log", Where.SERVER, "level(-1)"),
    Action("level.up", "greater_than_sign", "level", "Show only what weighs more", Where.SERVER, "level(1)"),
    Action("wrap", "w", "", "Wrap the lines of the log, or cut them", Where.SERVER, "wrap"),
    Action("server.sort", "s", "", "Sort the requests by the next column", Where.SERVER, "sort"),
    Action("server.sort.reverse", "S,shift+s", "", "Turn the order round", Where.SERVER, "reverse"),
    Action("bodies", "W,shift+w", "bodies", "Keep what requests say in memory, or forget it", Where.SERVER, "bodies"),
    Action("server.back", "escape", "", "Clear what is looked for, then the filter", Where.SERVER, "back"),
)

ACTIONS: tuple[Action, ...] = (*_APP, *_CHAT, *_PROMPT, *_MODELS, *_TRANSFERS, *_RUNNING, *_FILE, *_SERVER)
"""The registry, in the order of footer and help."""


def actions_for(where: Where) -> tuple[Action, ...]:
    """Return the actions of one place, in the order of the footer."""
    return tuple(action for action in ACTIONS if action.where is where)


def bindings_for(where: Where) -> list[Binding]:
    """Return the bindings of one place, for a `BINDINGS` attribute."""
    return [binding for action in actions_for(where) for binding in action.bindings()]


def shown_keys(action: Action, changed: Mapping[str, str] = {}) -> str:
    """Return the keys of an action as a person reads them (`^J Alt+⏎`), "" for none; `changed` has the user's own."""
    # `G,shift+g` is one key: terminals with and without the Kitty protocol name it differently.
    given = changed.get(action.id, action.keys)
    if not given:
        return ""
    keys = [key for key in given.split(",") if not (key.startswith("shift+") and len(key) == len("shift+x"))]
    return " ".join(shown_key(key) for key in keys)


def shown_key(key: str) -> str:
    """Return a key as a person reads it."""
    if key in _DISPLAY:
        return _DISPLAY[key]
    *modifiers, last = key.split("+")
    if modifiers == ["ctrl"] and len(last) == 1:
        return f"^{last.upper()}"
    name = _NAMES.get(last, last.upper() if len(last) > 1 and last[0] == "f" else last)
    return "+".join([*(modifier.capitalize() for modifier in modifiers), name])
