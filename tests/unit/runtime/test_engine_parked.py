from __future__ import annotations

from pathlib import Path

from corral.runtime.engine.computed import Computed
from corral.runtime.engine.parked import Parked, affordable_bytes
from corral.runtime.engine.shelf import Shelf
from tests.waiting import block_until

STATE = b"s" * 100


def parked(most_bytes: int = 10_000, *, whole: bool = False, shelf: Shelf | None = None) -> Parked:
    return Parked(most_bytes, shelf, whole=whole)


def test_what_is_taken_is_there_no_longer() -> None:
    memory = parked()
    memory.put(Computed([1, 2, 3, 4], STATE))
    length, number = memory.match([1, 2, 3, 9])
    assert (length, memory.take(number)) == (3, Computed([1, 2, 3, 4], STATE))
    assert memory.match([1, 2, 3]) == (0, 0)


def test_a_longer_one_takes_the_place_of_its_beginning() -> None:
    memory = parked()
    memory.put(Computed([1, 2], STATE))
    memory.put(Computed([1, 2, 3], STATE))
    memory.put(Computed([1, 2, 3], STATE))
    assert [one.tokens for one in memory.newest_first()] == [[1, 2, 3]]


def test_of_sequences_with_one_beginning_those_that_add_little_are_not_wanted() -> None:
    memory = parked()
    shared = list(range(100))
    assert memory.wants([*shared, 1], 8)
    memory.put(Computed([*shared, 1], STATE))
    assert not memory.wants([*shared, 1], 8)
    assert not memory.wants([*shared, *range(200, 207)], 8)
    assert memory.wants([*shared, *range(200, 208)], 8)
    assert memory.wants([*shared, 1, 2], 8), "it takes the other's place"
    whole = parked(whole=True)
    whole.put(Computed([*shared, 1], STATE))
    assert whole.wants([*shared, 1, 2], 8)


def test_memory_that_cannot_be_cut_takes_only_whole_ones() -> None:
    memory = parked(whole=True)
    memory.put(Computed([1, 2], STATE))
    memory.put(Computed([1, 2, 3, 4], STATE))
    assert memory.match([1, 2, 3])[0] == 2
    assert memory.match([1])[0] == 0
    assert len(memory.newest_first()) == 2


def test_what_was_parked_longest_ago_goes_and_on_to_disk_where_it_is_long(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 10**6, "sha256-a", "f16", whole=False)
    memory = parked(250, shelf=shelf)
    long = list(range(600))
    for tokens in ([7, 8], long, [5], [6]):
        memory.put(Computed(tokens, STATE))
    assert [one.tokens for one in memory.newest_first()] == [[6], [5]]
    block_until(lambda: memory.match(long)[0] == 600)  # another thread writes it
    number = memory.match(long)[1]
    computed = memory.take(number)
    assert number < 0
    assert computed is not None
    assert computed.tokens == long
    memory.drop(number)
    assert memory.match(long)[0] == 0
    assert memory.match([7, 8])[0] == 0


def test_an_eighth_of_the_memory_is_enough() -> None:
    assert 0 < affordable_bytes() <= 2 * 1024**3
