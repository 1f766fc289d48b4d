from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.engine.cells import Cells

MOVES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=60)


@given(MOVES)
def test_never_more_cells_held_than_there_are(moves: list[tuple[int, int]]) -> None:
    cells = Cells(100)
    held: dict[int, int] = {}
    for slot, count in moves:
        if count == 0:
            cells.release(slot)
            held.pop(slot, None)
        elif cells.can_hold(slot, count):
            cells.hold(slot, count)
            held[slot] = count
        assert cells.free == 100 - sum(held.values()) >= 0
        assert cells.held(slot) == held.get(slot, 0)


def test_a_slot_can_grow_into_what_it_holds() -> None:
    cells = Cells(10)
    cells.hold(1, 6)
    assert cells.can_hold(1, 10)
    assert not cells.can_hold(2, 5)
