"""The last minute of each model, and how far a whole transfer is."""

from __future__ import annotations

from corral.runtime.model_history import KEPT_S, ModelHistory
from corral.runtime.transfers import Transfers
from corral.store.progress import Progress
from tests.fakes.moment import model


def test_each_model_has_its_own_last_minute() -> None:
    history = ModelHistory()
    fast, slow = model("a"), model("b", digest="b", tokens_per_s=1.25, rss_bytes=7)
    for _ in range(KEPT_S + 5):
        history.add([fast])
    history.add([fast, slow])
    assert len(history.with_history(fast).rates) == KEPT_S
    assert (history.with_history(slow).rates, history.with_history(slow).rss_history) == ((1.2,), (7,))
    history.add([slow])
    assert history.with_history(fast).rates == (), "one that is gone begins anew"


def test_a_transfer_is_told_as_a_whole_and_by_its_part() -> None:
    transfers = Transfers(lambda: 0.0)
    with transfers.open("t", "m", "pull") as transfer:
        transfer.follow(Progress("pulling manifest"))
        transfer.follow(Progress("pulling a", "a", 100, 100, 1000, 3))
        transfer.follow(Progress("pulling b", "b", 800, 300, 1000, 3))
        (view,) = transfers.views()
        assert (view.completed, view.total) == (400, 1000)
        assert (view.part, view.parts, view.part_completed, view.part_total) == (2, 3, 300, 800)
        transfer.follow(Progress("writing manifest"))
        (view,) = transfers.views()
        assert (view.completed, view.total, view.status) == (400, 1000, "writing manifest")
    assert transfers.views() == ()


def test_a_job_without_parts_is_told_by_its_steps() -> None:
    transfers = Transfers(lambda: 0.0)
    with transfers.open("t", "m", "pull") as transfer:
        transfer.follow(Progress("converting", total=10, completed=4))
        (view,) = transfers.views()
        assert (view.completed, view.total, view.parts) == (4, 10, 0)
