"""What follows scoring, one image behind: order, one job at a time, and errors that come out."""

import threading
import time
from functools import partial

import pytest

from flawmap.inspect.write_behind import WriteBehind


def test_jobs_run_in_order_beside_the_caller_and_one_at_a_time() -> None:
    order: list[int] = []
    running = 0

    def job(number: int) -> None:
        nonlocal running
        running += 1
        assert running == 1 and threading.current_thread() is not threading.main_thread()
        time.sleep(0.002)
        order.append(number)
        running -= 1

    with WriteBehind() as behind:
        for number in range(10):
            behind.begin(lambda number=number: job(number))  # type: ignore[misc]
            assert len(order) in (number, number + 1)  # the one before is done, this one may be
    assert order == list(range(10))  # leaving waits for the last


def test_an_error_comes_out_and_nothing_is_begun_after_it() -> None:
    begun: list[str] = []

    def fail() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"), WriteBehind() as behind:
        behind.begin(fail)
        behind.begin(lambda: begun.append("next"))
    assert begun == []
    with pytest.raises(OSError, match="the disk is full"), WriteBehind() as behind:
        behind.begin(fail)  # the last job: its error comes out on leaving


def test_an_error_of_the_caller_lets_the_job_finish() -> None:
    done: list[str] = []

    def slow() -> None:
        time.sleep(0.05)
        done.append("record")

    with pytest.raises(KeyboardInterrupt), WriteBehind() as behind:
        behind.begin(slow)
        raise KeyboardInterrupt
    assert done == ["record"]


def test_several_jobs_run_at_once_and_end_in_order() -> None:
    meeting, ended = threading.Barrier(3), []

    def job(number: int) -> int:
        meeting.wait(timeout=20)  # nobody gets on alone
        time.sleep(0.02 * (3 - number % 3))  # the first of three is the last to be done
        return number

    with WriteBehind(3) as behind:
        for number in range(6):
            behind.begin(partial(job, number), ended.append)
    assert ended == list(range(6))


def test_after_an_error_no_later_job_ends() -> None:
    ended: list[int] = []

    def job(number: int) -> int:
        if number == 1:
            raise OSError("disk full")
        time.sleep(0.01)
        return number

    with pytest.raises(OSError, match="disk full"), WriteBehind(2) as behind:
        for number in range(6):
            behind.begin(partial(job, number), ended.append)
    assert ended == [0]
