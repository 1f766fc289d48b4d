"""Pulling a small model from the fake registry: in a hurry, and in many pieces."""

from __future__ import annotations

import random

from corral.store.progress import Progress
from corral.store.retry import Patience
from corral.store.sources.registry import RegistrySource
from corral.store.transfer import Pace
from tests.fakes.registry import FakeRegistry

WEIGHTS = random.Random(1).randbytes(600_000)
HASTE = Patience(tries=4, first_s=0.001, longest_s=0.002, stall_s=10.0, slow_s=10.0)
SMALL = Pace(connections=4, request=64_000, least_split=16_000, write=16_000)


async def pull(source: RegistrySource, registry: FakeRegistry, name: str = "library/tiny") -> list[Progress]:
    return [step async for step in source.pull(f"{registry.base}/{name}", insecure=True)]
