"""The frozen state the screen reads: who asks what, how far it is, what the memory holds.

The service publishes a new `Snapshot` by swapping one reference; any thread may read it.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class RequestState(StrEnum):
    """How far a request is."""

    WAITING = "waiting"
    LOADING = "loading"
    PREFILL = "prefill"
    DECODE = "decode"
    RUNNING = "running"  # anything but inference: a pull, a create, a listing
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


class RequestView(msgspec.Struct, frozen=True):
    """One request, in flight or of late.

    Times are seconds of the service's monotonic clock, comparable with `Snapshot.at_s`; `started_wall_s` is seconds
    since the epoch. `ended_s` and `first_token_s` are None until then. `load_fraction` is how much of its model is
    loaded while it waits for that; `warnings` says what of it was cut or ignored. Of `drafted` tokens that were guessed
    ahead, `accepted` were right. `load_s` is how long it waited for its model, `prompt_s` what its prompt took.
    """

    id: str
    client: str
    method: str
    path: str
    model: str
    state: RequestState
    started_wall_s: float
    started_s: float
    first_token_s: float | None = None
    ended_s: float | None = None
    status: int = 0
    prompt_tokens: int = 0
    prompt_done: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    tokens_per_s: float = 0.0
    note: str = ""
    load_fraction: float = 0.0
    warnings: tuple[str, ...] = ()
    drafted: int = 0
    accepted: int = 0
    load_s: float = 0.0
    prompt_s: float = 0.0


class QueueView(msgspec.Struct, frozen=True):
    """A request that waits: for memory or a model's end (`for_room`), else for a slot or cells of a loaded model.

    `since_s` is of the service's monotonic clock; a higher `priority` is served sooner.
    """

    request_id: str
    client: str
    model: str
    since_s: float
    reason: str
    priority: int = 0
    for_room: bool = False


class ClientView(msgspec.Struct, frozen=True):
    """What one client asked for since the service began; requests are counted when they end."""

    name: str
    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0


class ListenerView(msgspec.Struct, frozen=True):
    """An address that is served, since when (seconds since the epoch), and whom it lets in.

    `keys` is how many API keys there are, 0 for none asked for; `origins` are further ones that pages may call from.
    """

    address: str
    since_wall_s: float
    keys: int = 0
    origins: tuple[str, ...] = ()


class LogLine(msgspec.Struct, frozen=True):
    """A line of the log; `number` counts from 1 and is never used twice."""

    number: int
    wall_s: float
    level: str  # "debug", "info", "warning", "error"
    source: str  # "load", "http", "runner 4711" and others
    text: str


class ModelState(StrEnum):
    """What a model in memory is doing."""

    LOADING = "load"
    IDLE = "idle"
    BUSY = "busy"
    STOPPING = "stopping"


class EngineHost(msgspec.Struct, frozen=True):
    """A server that runs models for us: why it is passed over, "" where it is well; our requests on it."""

    url: str
    ill: str = ""
    requests: int = 0


class ModelView(msgspec.Struct, frozen=True):
    """One model in memory. Sizes in bytes, `cpu_percent` 100 per core, `expires_in_s` inf for ever, None while busy.

    It stays `keep_alive_s` after its last request; a `pinned` one for ever. Of those that can be put out, `leaves`
    is its place in the order, from 1 (0 for none), and `worth` what that comes from. `kept_cells` of the used ones are
    cache of `kept` sequences that ended; more are parked in memory and shelved on disk. `hit_share` is how much of the
    last minute's prompts came from there, None where there were none.

    `aliases` are further names of the same weights that were asked for while it was in memory. `expected_bytes` is what
    it was thought to take before it was loaded, to be held against the sum of weights, cache and compute. One with a
    `remote` runs on the servers that names, which `hosts` tells more of, and takes no memory here. `load_phase` is what
    is being done of its load, "" once it is loaded; where there is a GPU its `gpu_layers` of `num_layers`, the output
    counted as one, are known once the weights are being read. `rates` are its tokens a second and `rss_history` its
    process's bytes in the last minute, oldest first, one a second.
    """

    name: str
    digest: str
    state: ModelState
    pid: int
    load_fraction: float
    num_ctx: int
    slots_used: int
    slots_total: int
    waiting: int
    cells_used: int
    cells_total: int
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    vram_bytes: int
    rss_bytes: int
    cpu_percent: float
    tokens_per_s: float
    prompt_tokens_per_s: float
    expires_in_s: float | None
    aliases: tuple[str, ...] = ()
    expected_bytes: int = 0
    expected_weights: int = 0
    expected_kv: int = 0
    expected_compute: int = 0
    gpu_layers: int = 0
    num_layers: int = 0
    keep_alive_s: float = 0.0
    pinned: bool = False
    leaves: int = 0
    worth: str = ""
    kept_cells: int = 0
    kept: int = 0
    parked: int = 0
    parked_bytes: int = 0
    shelved: int = 0
    shelved_bytes: int = 0
    hit_share: float | None = None
    remote: str = ""
    hosts: tuple[EngineHost, ...] = ()
    load_phase: str = ""
    rates: tuple[float, ...] = ()
    rss_history: tuple[int, ...] = ()


class GpuSample(msgspec.Struct, frozen=True):
    """One GPU; a figure the driver does not give is None. Bytes, percent, degrees Celsius, watts, megahertz.

    `throttled` says in a word or two why its clock is held back, "" where it is not or nobody knows.
    """

    index: int
    name: str
    memory_used: int | None
    memory_total: int | None
    load_percent: float | None
    temperature_c: float | None
    power_w: float | None
    power_limit_w: float | None
    clock_mhz: float | None = None
    throttled: str = ""


class HostSample(msgspec.Struct, frozen=True):
    """The machine at one moment. Percent 0..100, None and no cores before they have been measured.

    `process_rss` is this process alone.
    """

    cpu_percent: float | None
    cpu_per_core: tuple[float, ...]
    load_average: tuple[float, float, float] | None
    memory_used: int
    memory_total: int
    disk_free: int
    disk_total: int
    process_rss: int
    process_cpu_percent: float
    gpus: tuple[GpuSample, ...] = ()


class TransferView(msgspec.Struct, frozen=True):
    """A job of `kind` (pull, push, create or verify) under way. Bytes of the whole of it; `total` is 0 while unknown.

    It is at its `part`th of `parts` (0 where it has none), of which `part_completed` of `part_total` bytes are done.
    """

    id: str
    model: str
    status: str
    completed: int
    total: int
    bytes_per_s: float
    part: int = 0
    parts: int = 0
    part_completed: int = 0
    part_total: int = 0
    kind: str = "pull"


class EventView(msgspec.Struct, frozen=True):
    """Something that happened, with its reason: a load, an unload, a crash, a refusal."""

    wall_s: float
    level: str  # "info", "warning", "error"
    kind: str  # "load", "unload", "evict", "queue", "crash", "pull", "create", "delete", "server"
    text: str


class LoadCounts(msgspec.Struct, frozen=True):
    """What happened to models in memory since the service began. `load_s` is the time of the loads that succeeded."""

    loads: int = 0
    failures: int = 0
    load_s: float = 0.0
    unloads: int = 0
    evictions: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """Everything the screens show that changes by itself. Newest first in `requests` and `events`.

    `trouble` says why this is not the newest: the server of a screen that is elsewhere does not answer.
    """

    at_s: float
    wall_s: float
    serving: str  # the address, or "" where nothing listens
    host: HostSample | None
    history: tuple[HostSample, ...] = ()  # oldest first, one a second, ten minutes at most
    models: tuple[ModelView, ...] = ()
    requests: tuple[RequestView, ...] = ()
    transfers: tuple[TransferView, ...] = ()
    events: tuple[EventView, ...] = ()
    tokens_per_s: float = 0.0
    prompt_tokens_per_s: float = 0.0
    throughput: tuple[float, ...] = ()  # tokens per second, oldest first, one a second
    waiting: int = 0  # for room or for a slot
    counts: LoadCounts = LoadCounts()
    trouble: str = ""
    queue: tuple[QueueView, ...] = ()  # the next one first
    clients: tuple[ClientView, ...] = ()
    listeners: tuple[ListenerView, ...] = ()
    log: tuple[LogLine, ...] = ()  # oldest first
    recording: bool = False


EMPTY = Snapshot(at_s=0.0, wall_s=0.0, serving="", host=None)
