from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.engine.schedule import JOIN_NS, STRETCH, TILE, YOUNG_STEP_NS, PromptBudget, plan, resting_place

WANTED = st.lists(st.integers(0, 2000), max_size=40)


@given(WANTED, st.integers(0, 600), st.integers(0, 600))
def test_nobody_gets_more_than_wanted_and_the_batch_is_never_overfull(
    wanted: list[int], capacity: int, budget: int
) -> None:
    counts = plan(wanted, capacity, budget)
    assert len(counts) == len(wanted)
    assert all(0 <= count <= want for count, want in zip(counts, wanted, strict=True))
    assert sum(counts) <= capacity


@given(WANTED, st.integers(1, 600))
def test_every_generating_stream_gets_its_token(wanted: list[int], budget: int) -> None:
    counts = plan(wanted, 600, budget)
    assert all(count == 1 for count, want in zip(counts, wanted, strict=True) if want == 1)


@given(WANTED, st.integers(0, 600))
def test_prompts_stay_within_their_budget(wanted: list[int], budget: int) -> None:
    counts = plan(wanted, 600, budget)
    assert sum(count for count, want in zip(counts, wanted, strict=True) if want > 1) <= budget + wanted.count(2)


@given(WANTED, st.integers(50, 600), st.integers(1, 600))
def test_what_can_be_given_is_given(wanted: list[int], capacity: int, budget: int) -> None:
    counts = plan(wanted, capacity, budget)
    prompts = sum(want for want in wanted if want > 1)
    given = wanted.count(1) + min(prompts, budget, capacity - wanted.count(1))
    assert given - len(wanted) <= sum(counts) <= given + wanted.count(2)
    assert (sum(counts) > wanted.count(1)) == (given > wanted.count(1))


@given(WANTED, st.integers(80, 600), st.integers(0, 600))
def test_no_prompt_is_left_with_a_lone_last_token(wanted: list[int], capacity: int, budget: int) -> None:
    counts = plan(wanted, capacity, budget)
    assert not [want for count, want in zip(counts, wanted, strict=True) if count and want - count == 1]


def test_a_short_prompt_gets_by_beside_a_long_one() -> None:
    assert plan([5000, 20], 512, 100) == [80, 20]


def test_one_prompt_after_the_other_begins_to_generate() -> None:
    assert plan([100, 100], 512, 120) == [100, 20]
    assert plan([100, 90, 100], 512, 100) == [25, 75, 0]
    assert plan([2, 1], 512, 1) == [2, 1]


def test_a_prompt_rests_where_others_go_on_from_it_if_all_then_fit_a_step() -> None:
    assert resting_place(900, 1024, [(1000, 1024), (990, 1010)], 68) == 1000
    assert resting_place(900, 1024, [(1000, 1024), (990, 1010)], 67) == 0
    assert resting_place(0, 1024, [], 500) == 0
    assert resting_place(999, 1024, [(1000, 1024)], 500) == 0, "one token alone is computed by other kernels"
    assert resting_place(900, 1001, [(1000, 1024)], 500) == 0, "one token would be left alone"
    assert resting_place(1010, 1024, [(1000, 1024)], 500) == 0, "it is past that"


MS = 1_000_000


def test_a_step_of_prompts_alone_is_as_long_as_a_newcomer_may_wait() -> None:
    budget = PromptBudget(512)
    assert 0 < budget.tokens(0) <= 512
    for _ in range(30):
        budget.observe(100, 0, 100 * 6 * MS)
    assert budget.tokens(0) == JOIN_NS // (6 * MS) // TILE * TILE
    for _ in range(30):
        budget.observe(100, 0, 100 * 20 * MS)
    assert budget.tokens(0) == JOIN_NS // (20 * MS) // TILE * TILE


def test_streams_that_have_just_begun_let_others_begin_with_them() -> None:
    budget = PromptBudget(512)
    for _ in range(30):
        budget.observe(100, 0, 100 * 4 * MS)
        budget.observe(0, 1, 8 * MS)
    assert budget.tokens(1) < budget.tokens(1, young=True) < budget.tokens(0)
    assert budget.tokens(1, young=True) == YOUNG_STEP_NS // (4 * MS) // TILE * TILE


@pytest.mark.parametrize("generating", [1, 8])
def test_beside_streams_a_step_is_stretched_so_far_and_no_further(generating: int) -> None:
    budget = PromptBudget(512)
    for _ in range(30):
        budget.observe(0, generating, 20 * MS)
        tokens = budget.tokens(generating)
        budget.observe(tokens, generating, (20 + 2 * tokens) * MS)
    assert 0.8 * STRETCH * 20 < 20 + 2 * budget.tokens(generating) <= STRETCH * 20


def test_streams_never_seen_alone_are_taken_for_fewer() -> None:
    budget = PromptBudget(512)
    budget.observe(100, 0, 100 * MS)
    assert budget.tokens(3) == 4
    budget.observe(0, 1, 10 * MS)
    assert budget.tokens(3) == 15


def test_budget_never_exceeds_the_batch_nor_stops_progress() -> None:
    budget = PromptBudget(512)
    budget.observe(512, 0, 1)
    budget.observe(0, 1, 1000)
    assert budget.tokens(0) == budget.tokens(1) == 512
    slow = PromptBudget(512)
    slow.observe(0, 1, 1)
    slow.observe(10, 1, 10**12)
    assert slow.tokens(1) > 0
