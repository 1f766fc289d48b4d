"""The models elsewhere that are in use, as the tables of models show them: they take no memory here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from corral.runtime.library import ModelOnDisk, details
from corral.runtime.model_views import Details, LoadedModel
from corral.runtime.rates import Rate
from corral.runtime.remote.address import Remote
from corral.runtime.remote.health import IN_USE_S, Hosts
from corral.runtime.snapshot import EngineHost, ModelState, ModelView


@dataclass(eq=False)
class Stub:
    """A model elsewhere. `begun` counts the answers that are being written; once `let_go` it is shown no longer."""

    name: str
    digest: str
    details: Details
    remote: Remote
    rate: Rate
    in_flight: int = 0
    begun: int = 0
    used_at: float = 0.0
    let_go: bool = False


class InUse:
    """Owned by the service loop. A model is shown while requests are in flight, and `IN_USE_S` longer."""

    def __init__(self, hosts: Hosts | None, clock: Callable[[], float]) -> None:
        self._hosts = hosts
        self._clock = clock
        self._stubs: dict[str, Stub] = {}

    @property
    def waiting(self) -> int:
        """How many requests have no answer yet."""
        return sum(stub.in_flight - stub.begun for stub in self._stubs.values())

    @contextmanager
    def counted(self, model: ModelOnDisk, remote: Remote) -> Iterator[Stub]:
        """Count a request."""
        stub = self._stubs.get(model.shown)
        if stub is None or stub.remote != remote:
            told = details(model.config, model.header)
            stub = self._stubs[model.shown] = Stub(model.shown, model.digest, told, remote, Rate(self._clock))
        stub.in_flight += 1
        stub.let_go = False
        try:
            yield stub
        finally:
            stub.in_flight -= 1
            stub.used_at = self._clock()

    def views(self) -> tuple[ModelView, ...]:
        """What the screen shows of them."""
        return tuple(self._view(stub, left_s) for stub, left_s in self._shown())

    def loaded(self) -> list[LoadedModel]:
        """What `ps` lists of them."""
        now = datetime.now().astimezone()
        return [
            LoadedModel(
                name=stub.name,
                digest=stub.digest,
                size=0,
                size_vram=0,
                details=stub.details,
                context_length=stub.details.context_length,
                expires_at=now + timedelta(seconds=left_s),
                remote_host=stub.remote.text,
                remote_model=stub.remote.model,
                requests=stub.in_flight,
                hosts=self._told(stub.remote),
            )
            for stub, left_s in self._shown()
        ]

    def _shown(self) -> list[tuple[Stub, float]]:
        """Those in use, and for how many seconds more they will be if nobody asks them."""
        left = {
            stub.name: IN_USE_S if stub.in_flight else 0.0 if stub.let_go else IN_USE_S - (self._clock() - stub.used_at)
            for stub in self._stubs.values()
        }
        self._stubs = {name: stub for name, stub in self._stubs.items() if left[name] > 0}
        return [(stub, left[name]) for name, stub in self._stubs.items()]

    def _view(self, stub: Stub, left_s: float) -> ModelView:
        return ModelView(
            name=stub.name,
            digest=stub.digest,
            state=ModelState.BUSY if stub.in_flight else ModelState.IDLE,
            pid=0,
            load_fraction=1.0,
            num_ctx=stub.details.context_length,
            slots_used=stub.begun,
            slots_total=0,
            waiting=stub.in_flight - stub.begun,
            cells_used=0,
            cells_total=0,
            weights_bytes=0,
            kv_bytes=0,
            compute_bytes=0,
            vram_bytes=0,
            rss_bytes=0,
            cpu_percent=0.0,
            tokens_per_s=stub.rate.per_second(),
            prompt_tokens_per_s=0.0,
            expires_in_s=None if stub.in_flight else left_s,
            remote=stub.remote.text,
            hosts=self._told(stub.remote),
        )

    def _told(self, remote: Remote) -> tuple[EngineHost, ...]:
        found = [(url, self._hosts.get(url) if self._hosts is not None else None) for url in remote.hosts]
        return tuple(
            EngineHost(url) if host is None else EngineHost(url, "" if host.healthy else host.reason, host.in_flight)
            for url, host in found
        )
