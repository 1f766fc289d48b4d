"""What is guessed ahead and whether it is worth checking: pure policy."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from corral.runtime.engine.drafting import PromptLookup, StepCosts, Trust, choose

# Few tokens, so that runs of them do come up again.
TEXTS = st.lists(st.integers(0, 2), max_size=60)
SHORTEST_RUN = 3


def costs_of(**known: float) -> StepCosts:
    costs = StepCosts()
    for size, cost in known.items():
        costs.observe(int(size.removeprefix("of")), int(cost))
    return costs


def reader(text: list[int]) -> PromptLookup:
    """What has looked into a whole text: the prompt is caught up on with the answer's first token."""
    lookup = PromptLookup(text[:-1])
    for token in text[-1:]:
        lookup.push(token)
    return lookup


def test_a_long_prompt_is_looked_into_bit_by_bit() -> None:
    prompt = list(range(1000))
    lookup = PromptLookup(prompt)
    guesses = []
    for token in prompt[:20]:
        lookup.push(token)
        guesses.append(lookup.guess(2))
    assert guesses[0] == []
    assert guesses[-1] == [20, 21]


@given(TEXTS, st.integers(0, 12))
def test_a_guess_is_what_followed_the_same_words_before(text: list[int], most: int) -> None:
    guess = reader(text).guess(most)
    assert len(guess) <= most
    whole = text + guess
    if guess:
        ends = [at for at in range(SHORTEST_RUN, len(text)) if text[at - SHORTEST_RUN : at] == text[-SHORTEST_RUN:]]
        assert any(whole[end : end + len(guess)] == guess for end in ends)


@given(TEXTS)
def test_nothing_is_guessed_where_nothing_came_up_before(text: list[int]) -> None:
    runs = [tuple(text[at - SHORTEST_RUN : at]) for at in range(SHORTEST_RUN, len(text) + 1)]
    known = bool(runs) and runs[-1] in runs[:-1]
    assert bool(reader(text).guess(4)) == known


@given(TEXTS, TEXTS)
def test_a_text_taken_token_by_token_is_the_same_text(prompt: list[int], more: list[int]) -> None:
    lookup = reader(prompt)
    for token in more:
        lookup.push(token)
    assert lookup.guess(8) == reader(prompt + more).guess(8)


def test_the_last_place_counts_but_for_a_text_that_goes_on_as_elsewhere_already() -> None:
    text = [1, 2, 3, 4, 5, 6, 70, 71, 0, 4, 5, 6, 80, 81, 9]
    far, near = reader([*text, 5, 6, 9]), reader([*text, 4, 5, 6])
    assert (far.guess(2), near.guess(2)) == ([], [80, 81])
    for token in (1, 2, 3, 4, 5, 6):
        far.push(token)
    assert far.guess(2) == [70, 71]


def test_chances_are_learnt_without_a_guess_being_made() -> None:
    phrase = list(range(100))
    copying, wandering = PromptLookup(phrase), PromptLookup(phrase)
    for token in phrase[:40]:
        copying.push(token)
    for number in range(10):
        for token in (*phrase[number : number + 4], 1000 + number):
            wandering.push(token)
        wandering.push(2000 + number)
    for token in phrase[50:53]:
        wandering.push(token)
    assert copying.guess(3) == [40, 41, 42]
    assert wandering.guess(3) == [53, 54, 55]
    assert copying.chance > 0.9
    assert wandering.chance < 0.6


def test_a_loop_is_guessed_to_go_on() -> None:
    assert reader([7, 8, 7, 8, 7, 8]).guess(5) == [7, 8, 7, 8, 7]


def test_large_tokens_are_told_apart() -> None:
    low, high = 3, 3 + (1 << 24)
    assert reader([1, 2, low, 9, 1, 2, high]).guess(1) == []


def test_trust_follows_what_came_true() -> None:
    trust = Trust()
    first = trust.chance
    trust.learn(4, 4)
    assert first < trust.chance < 1
    high = trust.chance
    trust.learn(4, 1)
    assert trust.chance < high


def rested(trust: Trust) -> int:
    steps = 0
    while not trust.ready():
        steps += 1
    return steps


def test_who_guesses_wrong_rests_ever_longer_and_starts_anew() -> None:
    trust = Trust()
    first = trust.chance
    rests = []
    for _ in range(8):
        trust.learn(3, 0)
        rests.append(rested(trust))
        assert trust.chance == first
    assert rests[0] > 0
    assert all(later >= 2 * earlier or later == max(rests) for earlier, later in itertools.pairwise(rests))
    trust.learn(3, 3)
    trust.learn(3, 0)
    assert rested(trust) <= max(rests)


def test_a_size_not_seen_costs_what_lies_between_those_that_were() -> None:
    costs = costs_of(of1=100, of5=300)
    costs.observe_prompt(100, 1000)
    assert [costs.of(size) for size in (1, 2, 3, 5, 7)] == [100, 150, 200, 300, 320]
    assert StepCosts().of(4) == 0
    assert costs_of(of4=100).of(2) == 100


def test_one_long_step_on_a_busy_machine_is_not_believed() -> None:
    costs = StepCosts()
    for cost in (100, 100, 9000, 100, 9000):
        costs.observe(1, cost)
    assert costs.of(1) == 100


def test_a_size_not_made_for_long_is_forgotten() -> None:
    costs = costs_of(of1=100, of4=9000)
    for _ in range(500):
        costs.observe(1, 100)
    assert costs.of(4) < 400


def test_where_more_tokens_cost_nothing_all_are_checked() -> None:
    assert choose(1, [(8, 0.9)], costs_of(of1=100, of9=100), 100) == [8]


def test_where_every_token_costs_a_step_none_is() -> None:
    assert choose(1, [(8, 0.9)], costs_of(of1=100, of9=900), 100) == [0]
    assert choose(8, [(8, 0.9)] * 8, costs_of(of8=800, of40=4000), 100) == [0] * 8


def test_nothing_is_checked_before_a_step_was_measured() -> None:
    assert choose(1, [(8, 0.9)], StepCosts(), 100) == [0]


def test_the_costs_of_guessing_count() -> None:
    costs = costs_of(of1=100, of5=110)
    assert choose(1, [(4, 0.9)], costs, 100, depth_ns=5) == [4]
    assert choose(1, [(4, 0.9)], costs, 100, depth_ns=200) == [0]


GUESSES = st.lists(st.tuples(st.integers(0, 8), st.floats(0.05, 0.97)), min_size=1, max_size=8)


@given(GUESSES, st.integers(0, 40), st.integers(1, 20))
def test_no_more_is_checked_than_was_guessed_and_fits(
    guesses: list[tuple[int, float]], most: int, per_token: int
) -> None:
    plain = len(guesses)
    costs = StepCosts()
    costs.observe(plain, 100)
    costs.observe(plain + 10, 100 + 10 * per_token)
    lengths = choose(plain, guesses, costs, most)
    assert sum(lengths) <= most
    assert all(0 <= length <= guess for length, (guess, _chance) in zip(lengths, guesses, strict=True))


@given(st.floats(0.05, 0.97), st.floats(0.05, 0.97), st.integers(1, 60))
def test_the_surer_guess_is_checked_at_least_as_far(one: float, other: float, per_token: int) -> None:
    costs = costs_of(of2=100, of12=100 + 10 * per_token)
    first, second = choose(2, [(8, max(one, other)), (8, min(one, other))], costs, 100)
    assert first >= second


def test_the_first_prompt_may_have_been_read_from_disk() -> None:
    costs = costs_of(of1=100)
    costs.observe_prompt(100, 100_000)
    costs.observe_prompt(100, 1000)
    assert costs.of(2) == 110
