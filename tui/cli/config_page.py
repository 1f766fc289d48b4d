"""The text of `docs/configuration.md`, made from the registry of settings: `corral config docs`."""

from __future__ import annotations

from collections.abc import Iterable

from corral.runtime.config_file import FOLDER
from corral.runtime.model_tables import KEYS
from corral.runtime.options import OPTIONS
from corral.runtime.settings import LIVE
from corral.runtime.variables import LOAD_OPTIONS, PASSED_ON, VARIABLES, WITHOUT_EFFECT, Variable

_HEAD = f"""# Configuration

Every setting has one name. `KEEP_ALIVE` for one is read from `CORRAL_KEEP_ALIVE`, then from `OLLAMA_KEEP_ALIVE`,
then from `keep_alive` in the file; the first that says something wins. `corral config` shows what holds and who says
so, with `--json` for programs. (This page is written by `corral config docs`.)

Around values in the environment, blanks and quotes don't count. `0`, `f` and `false` turn a switch off and anything
else turns it on, as with Ollama. Numbers are decimal. A value that cannot be read is told of and its default used.

## The file

`corral config path` says where it is: `$XDG_CONFIG_HOME/corral/config.toml`, so `~/.config/corral/config.toml`, or what
`CORRAL_CONFIG` names. It has the names below in lower case.

```toml
keep_alive = "30m"
origins = ["https://chat.example"]
{FOLDER} = "/srv/models"          # MODELS, where there are tables of models too
gpu_overhead = "1GB"

[aliases]                              # further names for models
gpt-4 = "qwen3:8b"

[models."qwen3:8b"]
preload = true                         # loaded when the server starts
pinned = true                          # never put out for another; stays for ever unless keep_alive is given
num_ctx = 16384
num_parallel = 2
gpu = 1                                # on this GPU alone; or main_gpu, split_mode, tensor_split

[models.all-minilm]
keep_alive = -1
```

The options in a model's table win over its own PARAMETER lines; a request's win over both. Models are loaded at the
start one after the other, while the server answers already.

With a mistake in the file no server starts: it names file and line. What it does not know is a warning, with the
nearest name. `corral config check FILE` says all that at once.

`corral config reload` has a running server read its settings again. It takes over these:
{{live}}.
The others wait for a restart, and it names them. A file with mistakes changes nothing. Models in memory stay as they
were loaded.
"""


def page() -> str:
    """Return the whole page."""
    loading = {option.name.upper() for option in LOAD_OPTIONS}
    names = [name.removesuffix("_s").replace("model_tables", "the tables of models") for name in sorted(LIVE)]
    live = ", ".join(name if " " in name else f"`{name}`" for name in names)
    own = ", ".join(f"`{key}`" for key in KEYS if key not in OPTIONS)
    options = "".join(f"| `{option.name}` | {_cell(option.text)} |\n" for option in OPTIONS.values())
    without_effect = _list(f"OLLAMA_{name}" for name in WITHOUT_EFFECT)
    return f"""{_HEAD.replace("{live}", live)}
## Settings

{_table(variable for variable in VARIABLES if variable.name not in loading)}
## How models are loaded

For all models; a table of the file, a PARAMETER line or a request says otherwise for one.

{_table(variable for variable in VARIABLES if variable.name in loading)}
## What a model's table takes

{own}, and:

| Option | What it does |
|---|---|
{options}
## One request

The header `X-Corral-Priority` (`low`, `normal`, `high`, or -2 to 2) says how soon a request comes among those who wait
for a model.

## Others' variables

{_list(PASSED_ON)}
do what they do elsewhere. Ollama's
{without_effect}
are taken and do nothing here, which is told once.
"""


def _table(variables: Iterable[Variable]) -> str:
    rows = (
        f"| `{one.name}` | {one.kind} | {one.default or '-'} | {_cell(one.description)}{_notes(one)} |\n"
        for one in variables
    )
    return "| Name | What it is | Without it | What it does |\n|---|---|---|---|\n" + "".join(rows)


def _notes(variable: Variable) -> str:
    notes = [f"`CORRAL_{variable.name}` only"] if variable.ours else []
    notes += [] if variable.in_file else ["not in the file"]
    return f" ({', '.join(notes)})" if notes else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
