import threading

import pytest

from upscore.io.read_ahead import map_ahead


def test_results_come_in_order_and_two_at_a_time():
    second_started = threading.Event()

    def work(i):
        if i == 0:  # finishes only if the next item is worked on meanwhile
            assert second_started.wait(10)
        second_started.set()
        return i

    assert list(map_ahead(work, range(20))) == list(range(20))


def test_no_more_is_drawn_than_the_depth_allows():
    drawn = []
    source = (drawn.append(i) or i for i in range(100))
    results = map_ahead(lambda i: i, source, depth=3)
    for i in range(10):
        assert next(results) == i
        assert len(drawn) == i + 4
    results.close()
    assert len(drawn) == 13


def test_an_error_reaches_the_caller_in_its_turn():
    results = map_ahead(lambda i: 1 // (2 - i), range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
