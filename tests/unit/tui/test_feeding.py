"""When the visible screen is given a snapshot: soon for what begins or ends, at a steady pace for figures."""

from __future__ import annotations

from msgspec.structs import replace

from corral.runtime.snapshot import EMPTY, RequestState
from corral.tui.feeding import Feeding
from tests.fakes.moment import moment, request


def test_figures_come_twice_a_second_and_what_begins_or_ends_at_the_next_look() -> None:
    now_s = 100.0
    feeding = Feeding(lambda: now_s)
    busy = moment(requests=(request(1),))
    assert feeding.delay_s(busy, has_focus=True) == 0.25
    assert feeding.is_due(busy)
    now_s += 0.25
    assert not feeding.is_due(moment(requests=(request(1, output_tokens=400),)))
    now_s += 0.24
    assert feeding.is_due(moment(requests=(request(1, output_tokens=405),)))
    for changed in (
        moment(requests=(request(2), request(1))),
        moment(requests=(request(2), request(1, state=RequestState.DONE))),
        moment(requests=(request(2, state=RequestState.LOADING),)),
        moment(requests=(), models=()),
        moment(requests=(), models=(), transfers=()),
    ):
        now_s += 0.05
        assert feeding.is_due(changed)
        assert not feeding.is_due(changed)
    feeding.forget()
    assert feeding.is_due(changed)


def test_what_rests_is_looked_at_often_enough_to_see_a_beginning_within_half_a_second() -> None:
    assert Feeding.delay_s(EMPTY, has_focus=True) == 0.4
    assert Feeding.delay_s(EMPTY, has_focus=True, is_elsewhere=True) == 1.0
    assert Feeding.delay_s(replace(moment(), transfers=(), models=(), requests=()), has_focus=True) == 0.4
    assert Feeding.delay_s(moment(), has_focus=False) == 5.0


def test_what_rests_is_handed_on_as_often_as_it_is_made_anew_and_every_second() -> None:
    now_s = 100.0
    feeding = Feeding(lambda: now_s)
    resting = moment(requests=(), models=(), transfers=())
    assert feeding.is_due(resting)
    now_s += 0.8
    assert not feeding.is_due(resting)
    assert feeding.is_due(replace(resting))
    now_s += 1.0
    assert feeding.is_due(resting)
    now_s += 0.1
    assert feeding.is_due(replace(resting, requests=(request(1),)))
    feeding.forget()
    assert feeding.is_due(resting)
