from __future__ import annotations

from corral.runtime.engine.cells import Cells
from corral.runtime.engine.prefix import PrefixTree


def test_what_two_share_counts_once_and_what_they_reserve_twice() -> None:
    tree = PrefixTree(shares=True)
    cells = Cells(100, tree)
    tree.put(1, [1] * 30)
    cells.reserve(1, 20)
    assert cells.free == 50
    tree.put(2, [1] * 30)
    cells.reserve(2, 20)
    assert cells.free == 30
    cells.reserve(2, 5)
    assert (cells.free, cells.reserved) == (45, 25)
    cells.release(1)
    cells.release(1)
    assert cells.free == 65
