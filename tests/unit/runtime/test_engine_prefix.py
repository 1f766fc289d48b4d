from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from corral.runtime.engine.prefix import PrefixTree, common_length

TOKENS = st.lists(st.integers(0, 2), max_size=40)
SLOTS = st.integers(0, 5)


def slow_common_length(left: list[int], right: list[int]) -> int:
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length


def prefixes(paths: dict[int, list[int]]) -> set[tuple[int, ...]]:
    """Return every beginning that somebody holds: a cell each where they are shared."""
    return {tuple(tokens[:end]) for tokens in paths.values() for end in range(1, len(tokens) + 1)}


@given(TOKENS, TOKENS)
def test_common_length_is_what_counting_says(left: list[int], right: list[int]) -> None:
    assert common_length(left, right) == slow_common_length(left, right)
    assert common_length(left, left + right) == len(left)


class TreeAgainstLists(RuleBasedStateMachine):
    """The tree beside a dictionary of lists that is searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = PrefixTree(shares=True)
        self.apart = PrefixTree(shares=False)
        self.paths: dict[int, list[int]] = {}

    @rule(slot=SLOTS, tokens=TOKENS)
    def put(self, slot: int, tokens: list[int]) -> None:
        self.drop(slot)
        self._put(slot, tokens)

    @rule(slot=SLOTS, tokens=TOKENS)
    def extend(self, slot: int, tokens: list[int]) -> None:
        if slot in self.paths:
            self._put(slot, self.paths[slot] + tokens)

    @rule(slot=SLOTS, length=st.integers(0, 40))
    def shorten(self, slot: int, length: int) -> None:
        if slot in self.paths:
            self._put(slot, self.paths[slot][:length])

    @rule(slot=SLOTS, other=SLOTS, length=st.integers(0, 40), tokens=TOKENS)
    def fork(self, slot: int, other: int, length: int, tokens: list[int]) -> None:
        if slot != other and other in self.paths:
            self.put(slot, self.paths[other][:length] + tokens)

    @rule(slot=SLOTS)
    def drop(self, slot: int) -> None:
        self.paths.pop(slot, None)
        self.shared.remove(slot)
        self.apart.remove(slot)

    @rule(prompt=TOKENS)
    def match(self, prompt: list[int]) -> None:
        length, node = self.shared.match(prompt)
        assert length == max((slow_common_length(path, prompt) for path in self.paths.values()), default=0)
        holders = {slot for slot, path in self.paths.items() if slow_common_length(path, prompt) == length}
        assert length == 0 or node.slots == holders

    @rule(prompt=TOKENS)
    def longest_end(self, prompt: list[int]) -> None:
        length, slots = self.shared.longest_end(prompt)
        whole = {slot: len(path) for slot, path in self.paths.items() if prompt[: len(path)] == path}
        assert length == max(whole.values(), default=0)
        assert slots == {slot for slot, size in whole.items() if size == length}

    @rule(slot=SLOTS, length=st.integers(0, 40))
    def shared_beyond(self, slot: int, length: int) -> None:
        path = self.paths.get(slot, [])
        others = [other for one, other in self.paths.items() if one != slot]
        longest = max((slow_common_length(path, other) for other in others), default=0)
        assert self.shared.shared_beyond(slot, length) == (longest > length)

    @rule(slots=st.sets(SLOTS))
    def cells_of(self, slots: set[int]) -> None:
        paths = {slot: path for slot, path in self.paths.items() if slot in slots}
        assert self.shared.cells_of(list(slots)) == len(prefixes(paths))
        assert self.apart.cells_of(list(slots)) == sum(map(len, paths.values()))

    def _put(self, slot: int, tokens: list[int]) -> None:
        self.paths[slot] = tokens
        self.shared.put(slot, tokens)
        self.apart.put(slot, tokens)

    @invariant()
    def cells_and_paths_are_as_counted(self) -> None:
        assert self.shared.cells == len(prefixes(self.paths))
        assert self.apart.cells == sum(map(len, self.paths.values()))
        for slot in range(6):
            assert (slot in self.shared) == (slot in self.paths)
            assert self.shared.tokens(slot) == self.paths.get(slot, [])
            assert self.shared.length(slot) == len(self.paths.get(slot, []))

    @invariant()
    def no_node_could_be_joined_with_its_child(self) -> None:
        nodes = list(self.shared.match([])[1].children.values())
        while nodes:
            node = nodes.pop()
            nodes += node.children.values()
            assert node.slots
            assert node.slots == node.ends.union(*(child.slots for child in node.children.values()))
            assert node.ends or len(node.children) > 1


TestTreeAgainstLists = TreeAgainstLists.TestCase
