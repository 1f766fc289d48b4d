"""A busy moment of a workbench, for screens to draw."""

from __future__ import annotations

from msgspec.structs import replace

from corral.runtime.snapshot import (
    ClientView,
    EventView,
    GpuSample,
    HostSample,
    ListenerView,
    LogLine,
    ModelState,
    ModelView,
    RequestState,
    RequestView,
    Snapshot,
    TransferView,
)

WALL_S = 1_780_000_000.0
AT_S = 1000.0
LEVELS = ("debug", "info", "warning", "error")

HOST = HostSample(
    cpu_percent=34.0,
    cpu_per_core=(61.0, 7.0),
    load_average=(1.2, 0.8, 0.4),
    memory_used=4_100_000_000,
    memory_total=8_300_000_000,
    disk_free=41_000_000_000,
    disk_total=90_000_000_000,
    process_rss=120_000_000,
    process_cpu_percent=3.0,
)
GPU = GpuSample(0, "NVIDIA H200", 38_200_000_000, 141_000_000_000, 71.0, 61.0, 412.0, 700.0)
BARE_GPU = GpuSample(1, "NVIDIA GB10", None, None, None, None, None, None)


def model(name: str, **changes: object) -> ModelView:
    """A model in memory, busy unless said otherwise."""
    view = ModelView(
        name=name,
        digest="d" * 64,
        state=ModelState.BUSY,
        pid=4711,
        load_fraction=1.0,
        num_ctx=4096,
        slots_used=1,
        slots_total=4,
        waiting=0,
        cells_used=812,
        cells_total=16384,
        weights_bytes=98_362_432,
        kv_bytes=94_000_000,
        compute_bytes=100_000_000,
        vram_bytes=0,
        rss_bytes=310_000_000,
        cpu_percent=180.0,
        tokens_per_s=61.2,
        prompt_tokens_per_s=812.0,
        expires_in_s=None,
    )
    return replace(view, **changes)


def request(number: int, **changes: object) -> RequestView:
    """A request that decodes, unless said otherwise; the higher the number the later it came."""
    view = RequestView(
        id=f"r{number}",
        client="127.0.0.1",
        method="POST",
        path="/api/chat",
        model="smollm2:135m",
        state=RequestState.DECODE,
        started_wall_s=WALL_S - 60 + number,
        started_s=AT_S - 60 + number,
        first_token_s=AT_S - 59.76 + number,
        prompt_tokens=812,
        prompt_done=812,
        cached_tokens=740,
        output_tokens=396,
        tokens_per_s=20.4,
    )
    return replace(view, **changes)


def moment(**changes: object) -> Snapshot:
    """A snapshot with a bit of everything."""
    samples = (*(replace(HOST, cpu_percent=float(n * 7 % 100)) for n in range(120)), HOST)
    snapshot = Snapshot(
        at_s=AT_S,
        wall_s=WALL_S,
        serving="http://127.0.0.1:11434",
        host=HOST,
        history=samples,
        models=(
            model("smollm2:135m", rates=tuple(20.0 + n % 40 for n in range(60)), rss_history=(300_000_000,) * 60),
            model(
                "qwen3:8b",
                state=ModelState.LOADING,
                load_phase="weights",
                load_fraction=0.41,
                slots_used=0,
                tokens_per_s=0.0,
            ),
            model("llama3.2:3b", state=ModelState.IDLE, expires_in_s=252.0, slots_used=0, tokens_per_s=0.0),
        ),
        requests=(
            request(9, state=RequestState.PREFILL, prompt_done=310, first_token_s=None, output_tokens=0),
            request(8, client="10.0.0.7"),
            request(
                5,
                path="/api/generate",
                model="qwen3:70b",
                state=RequestState.FAILED,
                status=404,
                ended_s=AT_S - 54.999,
                first_token_s=None,
                output_tokens=0,
                prompt_tokens=0,
                note="model 'qwen3:70b' not found",
            ),
            request(2, state=RequestState.DONE, status=200, ended_s=AT_S - 50),
        ),
        transfers=(
            TransferView("t1", "gemma3:27b", "pulling ccc0cddac561", 7_100_000_000, 17_200_000_000, 48_200_000.0),
        ),
        events=(
            EventView(WALL_S - 5, "info", "load", "qwen3:8b asked for by 10.0.0.9, needs 5.9G, nothing has to go"),
            EventView(WALL_S - 60, "warning", "queue", "3 requests waited 0.4 s: all slots of smollm2:135m busy"),
            EventView(WALL_S - 90, "error", "crash", "runner of gemma3:4b died: out of memory"),
        ),
        tokens_per_s=61.2,
        prompt_tokens_per_s=2104.0,
        throughput=tuple(float(n * 13 % 80) for n in range(90)),
        waiting=0,
        clients=(ClientView("127.0.0.1", requests=2, errors=1, prompt_tokens=812, output_tokens=396),),
        listeners=(ListenerView("http://127.0.0.1:11434", WALL_S - 4000, keys=1, origins=("https://app.example",)),),
        log=tuple(
            LogLine(number, WALL_S - 60 + number, LEVELS[number % 4], "http", f"line {number}")
            for number in range(1, 41)
        ),
    )
    return replace(snapshot, **changes)
