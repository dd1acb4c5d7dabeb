"""How the learning rate goes, by steps or by the clock."""

import numpy as np
import pytest

from flawmap.training.schedule import FINAL_RATE, WARM_UP, Schedule


def test_the_schedule_warms_up_and_comes_down() -> None:
    schedule = Schedule(1000, None)
    rates = []
    for step in range(1001):
        schedule.step = step
        rates.append(schedule.rate())
    top = int(np.argmax(rates))
    assert top == pytest.approx(1000 * WARM_UP, abs=1)
    assert rates[top] == pytest.approx(1)
    assert all(np.diff(rates[: top + 1]) >= 0)
    assert all(np.diff(rates[top:]) <= 0)
    assert rates[0] > 0
    assert rates[-1] == pytest.approx(FINAL_RATE)
    middle = (1000 + top) // 2
    assert rates[middle] == pytest.approx((1 + FINAL_RATE) / 2, abs=0.01)


def test_the_schedule_follows_whatever_runs_out_first() -> None:
    assert Schedule(100, 1.0, step=50).progress == pytest.approx(0.5, abs=0.01)
    assert Schedule(10**6, 1.0, step=5, seconds_before=45.0).progress == pytest.approx(0.75, abs=0.01)
    assert Schedule(100, 1.0, step=90, seconds_before=6.0).progress == pytest.approx(0.9, abs=0.01)
    assert Schedule(100, None, step=300).progress == 1.0
