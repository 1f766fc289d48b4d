"""The settings of a service as a screen lists them: value, who says so, and whether they can be changed meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from corral.runtime.config_file import find_config
from corral.runtime.environment import Environment
from corral.runtime.variables import LOAD_OPTIONS, VARIABLES

if TYPE_CHECKING:
    from corral.runtime.upkeep import SettingView

LIVE_VARIABLES = frozenset(
    {
        *("KEEP_ALIVE", "CONTEXT_LENGTH", "NUM_PARALLEL", "FLASH_ATTENTION", "KV_CACHE_TYPE", "SCHED_SPREAD"),
        *("GPU_OVERHEAD", "GO_TEMPLATE", "ALIASES", "LIMIT_RATE"),
        *(option.name.upper() for option in LOAD_OPTIONS),
    }
)
"""The settings behind `settings.LIVE`, but the tables of models, which are no single value."""
HERE = "set here"
"""The origin of what was changed while the service runs."""
DEFAULT = "default"


def setting_views(environ: Mapping[str, str], home: Path, adjusted: Mapping[str, str]) -> tuple[SettingView, ...]:
    """List every setting; `adjusted` are variables that were changed since the start."""
    from corral.runtime.upkeep import SettingView  # which reads in msgspec: too much for `corral --version`

    env = Environment({**environ, **adjusted}, find_config(environ, home))
    views = []
    for variable in VARIABLES:
        found = env.find(variable.name)
        value = "(set)" if variable.secret and found.text else found.text or variable.default
        origin = HERE if found.origin in adjusted else found.origin or DEFAULT
        live = variable.name in LIVE_VARIABLES
        views.append(SettingView(variable.name.lower(), value, origin, live, variable.description))
    return tuple(views)
