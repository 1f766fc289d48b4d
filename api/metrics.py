"""`GET /metrics`: what the server did and does, in the text form that Prometheus reads.

Written here, since the whole form is a few lines: the client library would be one more thing to import and to keep.
Labels are bounded: routes are those there are, models those that answered (`MOST_MODELS` at most, then "other").
"""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from re import Pattern

from corral.runtime.snapshot import RequestState, RequestView, Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_MODELS = 100
OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", ""})
_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_ENGINE = frozenset({RequestState.WAITING, RequestState.LOADING, RequestState.PREFILL, RequestState.DECODE})
_WAITING = frozenset({RequestState.WAITING, RequestState.LOADING})

Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number that only grows, for each set of labels."""

    kind = "counter"

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._values: dict[Labels, float] = {}

    def add(self, amount: float, **labels: str) -> None:
        """Count."""
        key = tuple(labels.items())
        self._values[key] = self._values.get(key, 0.0) + amount

    def lines(self) -> Iterator[str]:
        """Every value as a line."""
        for labels, value in self._values.items():
            yield _line(self.name, labels, value)


class Gauge(Counter):
    """A number as it is at the moment."""

    kind = "gauge"


class Histogram:
    """How often something took how long, in seconds, for each set of labels."""

    kind = "histogram"

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._counts: defaultdict[Labels, list[int]] = defaultdict(lambda: [0] * (len(_BUCKETS_S) + 1))
        self._sums: defaultdict[Labels, float] = defaultdict(float)

    def observe(self, seconds: float, **labels: str) -> None:
        """Count one that took so long."""
        key = tuple(labels.items())
        self._counts[key][bisect.bisect_left(_BUCKETS_S, seconds)] += 1
        self._sums[key] += seconds

    def lines(self) -> Iterator[str]:
        """Buckets, each with all that is below it, then the sum and the count."""
        bounds = [*map(_number, _BUCKETS_S), "+Inf"]
        for labels, counts in self._counts.items():
            for bound, count in zip(bounds, itertools.accumulate(counts), strict=True):
                yield _line(f"{self.name}_bucket", (*labels, ("le", bound)), count)
            yield _line(f"{self.name}_sum", labels, self._sums[labels])
            yield _line(f"{self.name}_count", labels, sum(counts))


@dataclass(slots=True)
class Routes:
    """The routes there are: whole paths, and patterns with what to call what they match."""

    paths: set[str] = field(default_factory=set)
    patterns: list[tuple[Pattern[str], str]] = field(default_factory=list)

    def add(self, name: str, pattern: Pattern[str] | None) -> None:
        """Know a route: its path, or what it is called and the pattern of what it answers."""
        if pattern is None:
            self.paths.add(name)
        else:
            self.patterns.append((pattern, name))

    def label(self, row: RequestView) -> str:
        """Return which route a request was for; verbs of this process, which have no method, go by their name."""
        if not row.method or row.path in self.paths:
            return row.path
        return next((name for pattern, name in self.patterns if pattern.fullmatch(row.path)), OTHER)


class Metrics:
    """Counts what ended, and asks for the rest when it is read. Owned by the service loop."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._models: set[str] = set()
        self.routes = Routes()
        self._requests = Counter("corral_requests_total", "Requests that ended, by what they ended with.")
        self._seconds = Histogram("corral_request_duration_seconds", "From a request to the end of its answer.")
        self._first = Histogram("corral_time_to_first_token_seconds", "From a request to its first token.")
        self._prompt = Counter("corral_prompt_tokens_total", "Tokens of prompts.")
        self._cached = Counter("corral_cached_prompt_tokens_total", "Tokens of prompts that were computed before.")
        self._hits = Counter("corral_prompt_cache_hits_total", "Prompts of which a part was computed before.")
        self._output = Counter("corral_output_tokens_total", "Tokens of answers.")
        self._drafted = Counter("corral_drafted_tokens_total", "Tokens that were guessed ahead.")
        self._accepted = Counter("corral_accepted_tokens_total", "Guessed tokens that were right.")
        self._warnings = Counter("corral_warnings_total", "Warnings in answers.")

    def observe(self, row: RequestView, before: RequestState) -> None:
        """Count a request that ended; `before` is the state it was in."""
        model = self._model_label(row, before)
        route = self.routes.label(row)
        method = row.method if row.method in _METHODS else OTHER
        ended_s = row.ended_s if row.ended_s is not None else row.started_s
        self._requests.add(1, route=route, method=method, status=str(row.status), model=model)
        self._seconds.observe(ended_s - row.started_s, route=route)
        if row.warnings:
            self._warnings.add(len(row.warnings), model=model)
        if not model:
            return
        if row.first_token_s is not None:
            self._first.observe(row.first_token_s - row.started_s, model=model)
        for counter, amount in (
            (self._prompt, row.prompt_tokens),
            (self._cached, row.cached_tokens),
            (self._hits, int(row.cached_tokens > 0)),
            (self._output, row.output_tokens),
            (self._drafted, row.drafted),
            (self._accepted, row.accepted),
        ):
            counter.add(amount, model=model)

    def _model_label(self, row: RequestView, before: RequestState) -> str:
        """Return the model that answered; a name that never came as far as the engine is only a client's text."""
        if before not in _ENGINE or not row.model:
            return ""
        if row.model not in self._models and len(self._models) >= MOST_MODELS:
            return OTHER
        self._models.add(row.model)
        return row.model

    def text(self, now: Snapshot) -> str:
        """Return everything, as it is now."""
        counted: Sequence[Counter | Histogram] = (
            *(self._requests, self._seconds, self._first, self._prompt, self._cached, self._hits, self._output),
            *(self._drafted, self._accepted, self._warnings),
        )
        return "".join(_block(one) for one in (*counted, *_gauges(now, self._version)))


def _gauges(now: Snapshot, version: str) -> Iterable[Counter]:
    """Return what is read off the snapshot."""
    open_rows = [row for row in now.requests if row.ended_s is None]
    waiting = sum(row.state in _WAITING for row in open_rows)
    here = [model for model in now.models if not model.remote]
    for kind, name, text, value in (
        (Gauge, "corral_requests_in_flight", "Requests that are being answered or wait.", len(open_rows)),
        (Gauge, "corral_queue_length", "Requests that wait for a model or for their turn on it.", waiting),
        (Gauge, "corral_models_running", "Models in memory.", len(here)),
        (Counter, "corral_model_loads_total", "Models that were loaded.", now.counts.loads),
        (Counter, "corral_model_load_failures_total", "Loads that failed.", now.counts.failures),
        (Counter, "corral_model_load_seconds_total", "What the loads took.", now.counts.load_s),
        (Counter, "corral_model_unloads_total", "Models that left memory.", now.counts.unloads),
        (Counter, "corral_model_evictions_total", "Models that made room for another.", now.counts.evictions),
    ):
        one = kind(name, text)
        one.add(value)
        yield one
    build = Gauge("corral_build_info", "The version that runs.")
    build.add(1, version=version)
    memory = Gauge("corral_model_memory_bytes", "Memory by model and use.")
    speed = Gauge("corral_tokens_per_second", "How fast answers are written now.")
    prompt_speed = Gauge("corral_prompt_tokens_per_second", "How fast prompts are read now.")
    for model in now.models:
        for use in () if model.remote else ("weights", "kv", "compute", "vram", "rss"):
            memory.add(getattr(model, f"{use}_bytes"), model=model.name, use=use)
        speed.add(model.tokens_per_s, model=model.name)
        prompt_speed.add(model.prompt_tokens_per_s, model=model.name)
    yield from (build, memory, speed, prompt_speed)


def _block(one: Counter | Histogram) -> str:
    lines = "".join(f"{line}\n" for line in one.lines())
    return f"# HELP {one.name} {one.text}\n# TYPE {one.name} {one.kind}\n{lines}"


def _line(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{shown}}} {_number(value)}" if shown else f"{name} {_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
