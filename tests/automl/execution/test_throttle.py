from __future__ import annotations

import time

from tao_skill.automl.execution.throttle import SHARE, Throttle


def test_what_is_quick_is_done_after_every_event() -> None:
    done: list[int] = []
    work = Throttle(lambda: done.append(len(done)))
    for events in range(1, 6):
        work.request()
        assert len(done) == events
    work.poll()
    work.flush()
    assert len(done) == 5


def test_what_is_slow_takes_its_share_of_the_time_and_is_caught_up_with() -> None:
    took_s, done = 0.06, []

    def slow() -> None:
        time.sleep(took_s)
        done.append(time.monotonic())

    work, began = Throttle(slow), time.monotonic()
    while time.monotonic() < began + 3 * took_s / SHARE - 0.5:
        work.request()
        time.sleep(0.005)
    assert 1 <= len(done) <= 3
    before = len(done)
    work.poll()
    assert len(done) == before
    work.flush()
    assert len(done) == before + 1
    work.flush()
    assert len(done) == before + 1
