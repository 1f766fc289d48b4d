"""Makes the snapshot the screens read, from what the scheduler, the gauges and the tables hold at that moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from msgspec.structs import replace

from corral.runtime.engine.protocol import CacheUse, LoadPhase
from corral.runtime.events import Events
from corral.runtime.gauges import Gauges
from corral.runtime.log_lines import LogLines
from corral.runtime.model_history import ModelHistory
from corral.runtime.queue_views import waiting_requests
from corral.runtime.requests import RequestLog
from corral.runtime.residents import Resident
from corral.runtime.runner import Runner
from corral.runtime.scheduler import Scheduler
from corral.runtime.snapshot import ListenerView, ModelState, ModelView, RequestState, RequestView, Snapshot
from corral.runtime.transfers import Transfers
from corral.runtime.verbs import FOREVER

THROUGHPUT_S = 600


class Publisher:
    """Builds snapshots. Owned by the service loop; what it returns may go to any thread."""

    def __init__(
        self,
        scheduler: Scheduler,
        gauges: Gauges,
        requests: RequestLog,
        transfers: Transfers,
        events: Events,
        log: LogLines,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        remotes: Callable[[], tuple[ModelView, ...]] = tuple,
    ) -> None:
        """`remotes` gives the models in use whose engine is elsewhere."""
        self._scheduler = scheduler
        self._gauges = gauges
        self._requests = requests
        self._transfers = transfers
        self._events = events
        self._log = log
        self._clock = clock
        self._wall_clock = wall_clock
        self._remotes = remotes
        self._throughput: deque[float] = deque(maxlen=THROUGHPUT_S)
        self._history = ModelHistory()
        self.serving = ""
        self.listeners: tuple[ListenerView, ...] = ()

    def tick(self) -> None:
        """Add a second to the history of tokens per second, of all and of each model."""
        models = self._models()
        self._throughput.append(sum(one.tokens_per_s for one in models))
        self._history.add(models)

    def snapshot(self) -> Snapshot:
        """What holds now."""
        models = self._models()
        queue = waiting_requests(self._scheduler, self._requests)
        return Snapshot(
            at_s=self._clock(),
            wall_s=self._wall_clock(),
            serving=self.serving,
            host=self._gauges.latest,
            history=self._gauges.history,
            models=tuple(map(self._history.with_history, models)),
            requests=self._rows(),
            transfers=self._transfers.views(),
            events=self._events.newest(),
            tokens_per_s=sum(one.tokens_per_s for one in models),
            prompt_tokens_per_s=sum(one.prompt_tokens_per_s for one in models),
            throughput=tuple(self._throughput),
            waiting=len(queue),
            counts=self._scheduler.counts,
            queue=queue,
            clients=self._requests.clients.views(),
            listeners=self.listeners,
            log=self._log.lines(),
            recording=self._requests.recordings.on,
        )

    def _rows(self) -> tuple[RequestView, ...]:
        """The requests, those that wait for a model with how much of it is loaded."""
        fractions = {
            name: self._scheduler.load_fraction(one.wanted.digest) or 0.0
            for one in self._scheduler.residents
            for name in one.names
        }
        return tuple(
            replace(row, load_fraction=fractions.get(row.model, 0.0)) if row.state is RequestState.LOADING else row
            for row in self._requests.rows()
        )

    def _models(self) -> tuple[ModelView, ...]:
        leaving = {
            resident.wanted.digest: (place, worth)
            for place, (resident, worth) in enumerate(self._scheduler.leaving(), 1)
        }
        ours = (self._view(one, *leaving.get(one.wanted.digest, (0, ""))) for one in self._scheduler.residents)
        return (*ours, *self._remotes())

    def _view(self, resident: Resident, leaves: int, worth: str) -> ModelView:
        runner = resident.runner
        cache = runner.cache if runner is not None else None
        use = cache.use if cache is not None else CacheUse(0, 0)
        loaded = runner.loaded if runner is not None else None
        load = resident.wanted.load
        sample = self._gauges.process(runner.pid) if runner is not None else None
        decode, prompt = _rates(runner)
        gpu_layers, num_layers = (loaded.gpu_layers, loaded.num_layers) if loaded else _split(runner)
        slots = loaded.num_sequences if loaded else load.num_sequences
        idle = resident.state is ModelState.IDLE
        remaining = resident.expires_at if resident.expires_at == FOREVER else resident.expires_at - self._clock()
        return ModelView(
            name=resident.wanted.name,
            digest=resident.wanted.digest,
            state=resident.state,
            pid=runner.pid if runner is not None else 0,
            load_fraction=runner.load_fraction if runner is not None else 0.0,
            load_phase=""
            if resident.ready.done()
            else str(runner.load_phase if runner is not None else LoadPhase.START),
            num_ctx=loaded.num_ctx if loaded else load.num_ctx,
            slots_used=min(runner.running, slots) if runner is not None else 0,
            slots_total=slots,
            waiting=self._scheduler.waiting(resident.wanted.digest) + resident.waiting,
            cells_used=runner.cells_used if runner is not None else 0,
            cells_total=loaded.num_cells if loaded else load.num_cells,
            weights_bytes=loaded.weights_bytes if loaded else 0,
            kv_bytes=loaded.kv_bytes if loaded else 0,
            compute_bytes=loaded.compute_bytes if loaded else 0,
            vram_bytes=loaded.vram_bytes if loaded else 0,
            rss_bytes=sample.rss if sample else 0,
            cpu_percent=sample.cpu_percent if sample else 0.0,
            tokens_per_s=decode,
            prompt_tokens_per_s=prompt,
            expires_in_s=max(0.0, remaining) if idle else None,
            expected_bytes=resident.wanted.forecast.total,
            expected_weights=resident.wanted.forecast.weights + resident.wanted.forecast.extra,
            expected_kv=resident.wanted.forecast.cache,
            expected_compute=resident.wanted.forecast.compute,
            gpu_layers=gpu_layers,
            num_layers=num_layers,
            keep_alive_s=resident.keep_alive_s,
            pinned=resident.pinned,
            leaves=leaves,
            worth=worth,
            kept_cells=use.kept_cells,
            kept=use.kept,
            parked=use.parked,
            parked_bytes=use.parked_bytes,
            shelved=use.shelved,
            shelved_bytes=use.shelved_bytes,
            hit_share=cache.hit_share if cache is not None else None,
            aliases=tuple(name for name in resident.names if name != resident.wanted.name),
        )


def _split(runner: Runner | None) -> tuple[int, int]:
    """How many layers go to GPUs, of how many, as far as its load has told."""
    return (0, 0) if runner is None else runner.load_split


def _rates(runner: Runner | None) -> tuple[float, float]:
    return (0.0, 0.0) if runner is None else (runner.decode_rate.per_second(), runner.prompt_rate.per_second())
