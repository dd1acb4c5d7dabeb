"""Work on several things at once: every result in its turn, no more at once than were asked for."""

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.inspect.in_order import in_order


@settings(max_examples=30, deadline=None)
@given(delays=st.lists(st.integers(0, 3), max_size=12), at_once=st.integers(1, 4))
def test_results_come_in_order_and_not_too_many_at_once(delays: list[int], at_once: int) -> None:
    lock, running, most, threads = threading.Lock(), 0, 0, set()

    def work(thing: tuple[int, int]) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            threads.add(threading.get_ident())
        time.sleep(thing[1] / 1000)
        with lock:
            running -= 1
        return thing[0]

    assert list(in_order(enumerate(delays), work, at_once)) == list(range(len(delays)))
    assert most <= at_once and len(threads) <= at_once
    if at_once == 1 and delays:
        assert threads == {threading.get_ident()}


def test_several_are_worked_on_at_once() -> None:
    meeting = threading.Barrier(3)

    def work(thing: int) -> int:
        meeting.wait(timeout=20)  # nobody gets on alone
        return thing

    assert list(in_order(range(6), work, 3)) == list(range(6))


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_things_are_taken_no_earlier_than_needed(at_once: int) -> None:
    taken: list[int] = []

    def things() -> Iterator[int]:
        for thing in range(10):
            taken.append(thing)
            yield thing

    results = in_order(things(), lambda thing: thing, at_once)
    assert next(results) == 0
    assert len(taken) <= at_once + 1
    results.close()
    assert len(taken) <= at_once + 1


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_an_error_comes_in_its_turn(at_once: int) -> None:
    def work(thing: int) -> int:
        if thing == 2:
            raise ValueError("thing 2")
        return thing

    results = in_order(range(6), work, at_once)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="thing 2"):
        next(results)


def test_closing_waits_for_what_runs() -> None:
    done = []

    def work(thing: int) -> int:
        time.sleep(0.02)
        done.append(thing)
        return thing

    results = in_order(range(100), work, 2)
    next(results)
    results.close()
    n_done = len(done)
    assert n_done < 10
    time.sleep(0.05)
    assert len(done) == n_done
