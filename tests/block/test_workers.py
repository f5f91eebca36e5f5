"""The threads of the control plane, that grow in number while they are held up."""

import threading
import time
from concurrent.futures import CancelledError

import pytest
from goldherd.block.workers import Workers


def until_threads(workers: Workers, count: int) -> None:
    deadline = time.monotonic() + 30
    while workers.thread_count != count:
        assert time.monotonic() < deadline, f"{workers.thread_count} threads"
        time.sleep(0.01)


def test_outcome_and_failure_come_back() -> None:
    workers = Workers(2, 4)
    assert workers.submit(pow, 3, exp=4).result(30) == 81
    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 // 0).result(30)
    workers.shutdown()


def test_quick_work_needs_no_more_threads_than_stay() -> None:
    workers = Workers(2, 64)
    for future in [workers.submit(int) for _ in range(1000)]:
        assert future.result(30) == 0
    assert workers.thread_count <= 2
    workers.shutdown()


def test_held_up_threads_are_joined_by_more_up_to_the_bound() -> None:
    workers, go = Workers(2, 8), threading.Event()
    held = [workers.submit(go.wait, 60) for _ in range(7)]
    assert workers.submit(lambda: "done").result(30) == "done", "the eighth thread"
    held += [workers.submit(go.wait, 60) for _ in range(3)]
    until_threads(workers, 8)
    late = workers.submit(lambda: "late")
    go.set()
    assert late.result(30) == "late"
    assert all(future.result(30) for future in held)
    workers.shutdown()


def test_threads_that_are_not_needed_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldherd.block.workers.CONTROL_IDLE_SECONDS", 0.05)
    workers, go = Workers(2, 8), threading.Event()
    held = [workers.submit(go.wait, 60) for _ in range(6)]
    until_threads(workers, 6)
    go.set()
    assert all(future.result(30) for future in held)
    until_threads(workers, 2)
    workers.shutdown()


def test_shutdown_waits_for_the_work_or_leaves_it() -> None:
    workers, begun, go = Workers(1, 1), threading.Event(), threading.Event()
    held = workers.submit(lambda: begun.set() or go.wait(60))
    waits = workers.submit(int)
    assert begun.wait(30)
    workers.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        waits.result(30)
    with pytest.raises(RuntimeError):
        workers.submit(int)
    go.set()
    workers.shutdown()
    assert held.result(0) is True


def test_one_idle_thread_is_not_counted_on_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldherd.block.workers.CONTROL_PATIENCE_SECONDS", 3600)
    workers, both = Workers(4, 4), threading.Barrier(2)
    assert workers.submit(int).result(30) == 0
    futures = [workers.submit(both.wait, 30) for _ in range(2)]
    assert sorted(future.result(60) for future in futures) == [0, 1]
    workers.shutdown()
