"""The radix tree over tokens: which llama.cpp sequences begin like a new prompt, and how many cells they fill together.

Every sequence that holds computed tokens is a path from the root; sequences with a common beginning share its nodes, as
they share its cells in llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def common_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many tokens two sequences have in common at their beginning."""
    low, high = 0, min(len(left), len(right))
    if left[:high] == right[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


class Node:
    """A run of tokens that the same sequences hold; `slots` are those, `ends` the ones of them that end here."""

    __slots__ = ("children", "ends", "parent", "slots", "tokens")

    def __init__(self, tokens: list[int], parent: Node | None) -> None:
        self.tokens = tokens
        self.parent = parent
        self.children: dict[int, Node] = {}
        self.slots: set[int] = set()
        self.ends: set[int] = set()


class PrefixTree:
    """Token paths by slot (a llama.cpp sequence id); belongs to the loop's thread.

    `shares` says that a common beginning is one run of cells, whoever holds it; else each holder has cells of its own.
    """

    def __init__(self, *, shares: bool) -> None:
        self._shares = shares
        self._root = Node([], None)
        self._last: dict[int, Node] = {}
        self.cells = 0

    def __contains__(self, slot: int) -> bool:
        return slot in self._last

    def put(self, slot: int, tokens: list[int]) -> None:
        """Let a slot's path be `tokens`; where it has one already, it must be a beginning or a continuation of it."""
        before = list(self._path(slot))
        if slot in self._last:
            self._last.pop(slot).ends.discard(slot)
        node, position = self._root, 0
        while position < len(tokens):
            child = node.children.get(tokens[position])
            if child is None:
                child = Node(tokens[position:], node)
                node.children[tokens[position]] = child
                self.cells += len(child.tokens) if self._shares else 0
            else:
                shared = common_length(child.tokens, tokens[position : position + len(child.tokens)])
                if shared < len(child.tokens):
                    child = self._split(child, shared)
            if slot not in child.slots:
                child.slots.add(slot)
                self.cells += 0 if self._shares else len(child.tokens)
            position += len(child.tokens)
            node = child
        for below in [child for child in node.children.values() if slot in child.slots]:
            self._leave(below, slot)
        node.ends.add(slot)
        self._last[slot] = node
        self._merge_lowest(before)

    def remove(self, slot: int) -> None:
        """Forget a slot."""
        path = list(self._path(slot))
        last = self._last.pop(slot, None)
        if last is not None:
            last.ends.discard(slot)
        for node in path:
            self._drop(node, slot)
        self._merge_lowest(path)

    def match(self, prompt: Sequence[int]) -> tuple[int, Node]:
        """Return how many tokens of a prompt's beginning are held, and the node where that ends: its slots hold it."""
        node, position = self._root, 0
        while position < len(prompt):
            child = node.children.get(prompt[position])
            if child is None:
                break
            shared = common_length(child.tokens, prompt[position : position + len(child.tokens)])
            position += shared
            node = child
            if shared < len(child.tokens):
                break
        return position, node

    def longest_end(self, prompt: Sequence[int]) -> tuple[int, frozenset[int]]:
        """Return the longest beginning of a prompt that is the whole of some slots, and these."""
        length, node = self.match(prompt)
        depth = self._depth(node)
        while node.parent is not None and (depth > length or not node.ends):
            depth -= len(node.tokens)
            node = node.parent
        return depth, frozenset(node.ends)

    def length(self, slot: int) -> int:
        """Return how many tokens a slot holds; 0 where it is not known."""
        node = self._last.get(slot)
        return 0 if node is None else self._depth(node)

    def tokens(self, slot: int) -> list[int]:
        """Return what a slot holds."""
        found: list[int] = []
        for node in reversed(list(self._path(slot))):
            found += node.tokens
        return found

    def shared_beyond(self, slot: int, length: int) -> bool:
        """Say whether another slot shares any of what a slot holds behind its first `length` tokens."""
        depth = self.length(slot)
        for node in self._path(slot):
            if depth <= length:
                return False
            if len(node.slots) > 1:
                return True
            depth -= len(node.tokens)
        return False

    def cells_of(self, slots: Iterator[int] | Sequence[int]) -> int:
        """Return how many cells some slots fill together."""
        if not self._shares:
            return sum(map(self.length, slots))
        seen: set[int] = set()
        total = 0
        for slot in slots:
            for node in self._path(slot):
                if id(node) in seen:
                    break
                seen.add(id(node))
                total += len(node.tokens)
        return total

    def _path(self, slot: int) -> Iterator[Node]:
        """Yield a slot's nodes, the last one first."""
        node = self._last.get(slot)
        while node is not None and node.parent is not None:
            yield node
            node = node.parent

    def _depth(self, node: Node) -> int:
        depth = 0
        while node.parent is not None:
            depth += len(node.tokens)
            node = node.parent
        return depth

    def _split(self, node: Node, length: int) -> Node:
        """Put a node for the first `length` tokens above the rest; returns it."""
        parent = node.parent
        assert parent is not None
        upper = Node(node.tokens[:length], parent)
        upper.slots = set(node.slots)
        node.tokens = node.tokens[length:]
        node.parent = upper
        upper.children[node.tokens[0]] = node
        parent.children[upper.tokens[0]] = upper
        return upper

    def _leave(self, node: Node, slot: int) -> None:
        """Take a slot out of a node and all below."""
        for child in [child for child in node.children.values() if slot in child.slots]:
            self._leave(child, slot)
        self._drop(node, slot)

    def _drop(self, node: Node, slot: int) -> None:
        """Take a slot out of one node, which goes with its last one."""
        node.slots.discard(slot)
        self.cells -= len(node.tokens) if not self._shares or not node.slots else 0
        if not node.slots and node.parent is not None and node.parent.children.get(node.tokens[0]) is node:
            del node.parent.children[node.tokens[0]]

    def _merge_lowest(self, path: list[Node]) -> None:
        """Join the lowest node that is left of a slot's former path with its only child, where both are held alike."""
        node = next((node for node in path if node.slots), None)
        parent = node.parent if node is not None else None
        if node is None or parent is None or node.ends or len(node.children) != 1:
            return
        (child,) = node.children.values()
        child.tokens = node.tokens + child.tokens
        child.parent = parent
        parent.children[child.tokens[0]] = child
