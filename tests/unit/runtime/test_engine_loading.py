"""What a load tells of itself: llama.cpp's own lines, in the order in which it writes them."""

from __future__ import annotations

import pytest

from corral.runtime.engine.llamalog import EngineLog
from corral.runtime.engine.loading import Teller
from corral.runtime.engine.protocol import FromRunner, Loading, LoadPhase

INFO = 2
SPLIT = "load_tensors: offloaded 21/33 layers to GPU\n"
WHOLE = "load_tensors: offloaded 3/3 layers to GPU\n"


@pytest.mark.parametrize(("has_gpu", "told"), [(True, (21, 33)), (False, (0, 0))])
def test_the_split_is_told_from_the_first_weights_on(has_gpu: bool, told: tuple[int, int]) -> None:
    sent: list[FromRunner] = []
    log = EngineLog()
    teller = Teller(sent.append, log, has_gpu=has_gpu)
    assert teller.split == (0, 0)
    log.receive(INFO, SPLIT)
    assert teller.weights(0.25)
    teller.phase(LoadPhase.CACHE)
    assert sent == [Loading(0.25, LoadPhase.WEIGHTS, *told), Loading(1.0, LoadPhase.CACHE, *told)]


def test_a_draft_models_layers_are_not_the_models() -> None:
    sent: list[FromRunner] = []
    log = EngineLog()
    teller = Teller(sent.append, log, has_gpu=True)
    log.receive(INFO, SPLIT)
    teller.keep_split()
    log.receive(INFO, WHOLE)
    teller.phase(LoadPhase.VISION)
    assert sent == [Loading(1.0, LoadPhase.VISION, 21, 33)]


def test_progress_is_told_now_and_then_only() -> None:
    sent: list[FromRunner] = []
    teller = Teller(sent.append, EngineLog(), has_gpu=False)
    for hundredth in range(100):
        assert teller.weights(hundredth / 100)
    assert len(sent) < 50
