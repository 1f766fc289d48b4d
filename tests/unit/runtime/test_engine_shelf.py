from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corral.runtime.engine.computed import Computed
from corral.runtime.engine.protocol import Finished, Loaded
from corral.runtime.engine.shelf import SUFFIX, Shelf, forget_models
from tests.unit.runtime.runner_process import Answer, RunnerProcess

STORY = "the fox ran and saw a dog and the cat "
MEMORIES = [("full", None), ("sliding", True), ("sliding", False), ("recurrent", None), ("hybrid", None)]
STATE = bytes(range(256)) * 40


def shelf(folder: Path, *, most_bytes: int = 1_000_000, weights: str = "sha256-a", whole: bool = False) -> Shelf:
    return Shelf(folder, most_bytes, weights, "f16", whole=whole)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def test_what_was_put_away_is_there_the_next_time(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "sequences"
    assert shelf(folder).put(Computed([1, 2, 3, 4], STATE))
    later = shelf(folder)
    length, number = later.match([1, 2, 3, 9])
    computed = later.take(number)
    assert length == 3
    assert computed is not None
    assert (computed.tokens, bytes(computed.state)) == ([1, 2, 3, 4], STATE)
    assert later.match([2, 2]) == (0, -1)


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "sequences"
    old = os.umask(0)
    try:
        shelf(folder).put(Computed([1, 2], STATE))
    finally:
        os.umask(old)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]


def test_memory_that_cannot_be_cut_takes_only_whole_ones(tmp_path: Path) -> None:
    one = shelf(tmp_path, whole=True)
    one.put(Computed([1, 2, 3], STATE))
    one.put(Computed([1, 2, 3, 4, 5], STATE))
    assert one.match([1, 2, 3, 4])[0] == 3
    assert one.match([1, 2])[0] == 0
    assert len(files(tmp_path)) == 2


def test_a_longer_one_takes_the_place_of_its_beginning(tmp_path: Path) -> None:
    one = shelf(tmp_path)
    one.put(Computed([1, 2, 3], STATE))
    one.put(Computed([1, 2, 3, 4, 5], STATE))
    assert one.match([1, 2, 3, 4])[0] == 4
    assert len(files(tmp_path)) == 1
    assert not one.put(Computed([1, 2, 3, 4], STATE))


def test_says_how_much_it_holds(tmp_path: Path) -> None:
    one = shelf(tmp_path)
    assert one.held == (0, 0)
    one.put(Computed([1, 2, 3], STATE))
    one.put(Computed([7, 8], STATE))
    one.put(Computed([1, 2, 3, 4, 5], STATE))
    held = one.held
    assert held == shelf(tmp_path).held == (2, sum(path.stat().st_size for path in files(tmp_path)))
    one.drop(one.match([7, 8])[1])
    assert one.held[0] == 1


def test_one_whose_place_is_taken_can_still_be_dropped(tmp_path: Path) -> None:
    one = shelf(tmp_path)
    one.put(Computed([1, 2, 3], STATE))
    _, number = one.match([1, 2, 3])
    one.put(Computed([1, 2, 3, 4, 5], STATE))
    assert one.match([1, 2, 3, 4])[0] == 4
    one.drop(number)
    assert one.match([1, 2, 3, 4])[0] == 4


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone", "other"])
def test_what_is_damaged_is_thrown_away(tmp_path: Path, harm: str) -> None:
    one = shelf(tmp_path)
    one.put(Computed([1, 2, 3], STATE))
    (path,) = files(tmp_path)
    _, number = one.match([1, 2, 3])
    data = path.read_bytes()
    match harm:
        case "flip":
            path.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
        case "cut":
            path.write_bytes(data[:-1])
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
        case _:
            path.write_bytes(b"#!/bin/sh\n" + data)
    assert shelf(tmp_path).match([1, 2, 3])[0] in (0, 3)  # which opens nothing it cannot read
    assert one.take(number) is None
    assert one.match([1, 2, 3]) == (0, -1)
    assert files(tmp_path) == []


def test_the_folder_stays_within_its_bound_and_the_oldest_goes(tmp_path: Path) -> None:
    one = shelf(tmp_path, most_bytes=3 * len(STATE))
    other = shelf(tmp_path, most_bytes=3 * len(STATE), weights="sha256-b")
    for begin in range(4):
        assert (other if begin % 2 else one).put(Computed([begin, 7], STATE))
        os.utime(max(files(tmp_path), key=lambda path: path.stat().st_mtime_ns), ns=(begin, begin))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * len(STATE)
    assert len(files(tmp_path)) == 2
    assert not one.put(Computed([9], STATE * 2))


def test_other_weights_and_other_settings_are_not_taken(tmp_path: Path) -> None:
    shelf(tmp_path).put(Computed([1, 2, 3], STATE))
    assert shelf(tmp_path, weights="sha256-b").match([1, 2, 3])[0] == 0
    assert Shelf(tmp_path, 10**6, "sha256-a", "q8_0", whole=False).match([1, 2, 3])[0] == 0
    assert shelf(tmp_path).match([1, 2, 3])[0] == 3


def test_models_that_are_gone_leave_nothing(tmp_path: Path) -> None:
    shelf(tmp_path).put(Computed([1], STATE))
    shelf(tmp_path, weights="sha256-b").put(Computed([1], STATE))
    forget_models(tmp_path, besides=["sha256-b", "sha256-c"])
    assert len(files(tmp_path)) == 1
    assert shelf(tmp_path, weights="sha256-b").match([1])[0] == 1


def test_a_disk_that_refuses_costs_the_cache_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not shelf(tmp_path / "file" / "sequences").put(Computed([1], STATE))


@pytest.fixture
def loaded(tmp_path: Path, tiny: Callable[[str], Path]) -> Iterator[Callable[..., RunnerProcess]]:
    """Start runners that share a folder for their sequences."""
    children: list[RunnerProcess] = []

    def load(kind: str, **changes: object) -> RunnerProcess:
        runner = RunnerProcess()
        children.append(runner)
        given: dict[str, object] = {"shelf": str(tmp_path / "shelf"), "shelf_bytes": 10**9, **changes}
        assert isinstance(runner.load(tiny(kind), **given), Loaded)
        return runner

    yield load
    for runner in children:
        runner.close()


def end_of(answer: Answer) -> Finished:
    assert answer.finished is not None, answer.refused
    return answer.finished


@pytest.mark.parametrize(("kind", "whole"), MEMORIES)
def test_a_chat_goes_on_where_an_earlier_runner_left_it(
    loaded: Callable[..., RunnerProcess], kind: str, whole: bool | None
) -> None:
    first = loaded(kind, whole_window=whole)
    said = end_of(first.ask(1, STORY * 6, want_context=True)).context
    first.close()
    second = loaded(kind, whole_window=whole)
    resumed = end_of(second.ask(1, "and then", prefix=said, want_context=True))
    anew = loaded(kind, whole_window=whole, shelf="")
    computed = end_of(anew.ask(1, "and then", prefix=said, want_context=True))
    assert resumed.cached_tokens >= len(said) - 2
    assert computed.cached_tokens == 0
    assert resumed.context == computed.context


def test_what_is_pushed_out_of_the_cache_comes_back(loaded: Callable[..., RunnerProcess]) -> None:
    runner = loaded("full", num_ctx=1024, num_cells=1024, num_sequences=1, shelf="")
    prompts = [f"{word} {STORY * 16}" for word in ("one", "two")]
    spoken = [end_of(runner.ask(i, prompt, num_ctx=1024)) for i, prompt in enumerate(prompts)]
    assert all(end.cached_tokens < 10 for end in spoken)
    again = end_of(runner.ask(5, prompts[0], num_ctx=1024))
    assert again.cached_tokens == again.prompt_tokens - 2
