"""The queue: what goes together, and what one photo causes."""

import threading

import pytest

from upscore.serving.batching import Batches


class Work:
    """Squares numbers, when it is let; keeps the batches that it was given."""

    def __init__(self):
        self.seen, self.gate = [], threading.Event()

    def __call__(self, key, items):
        self.seen.append((key, list(items)))
        if items[0] == "first":
            self.gate.wait(10)
            return items
        if "bad" in items:
            raise ValueError("bad")
        return [item * item for item in items]


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def batches(work):
    made = Batches(work, lambda key: 3)
    made.put("start", "first")
    while not work.seen:
        pass
    yield made
    work.gate.set()
    made.close()


def test_items_of_a_key_go_together_oldest_first(work, batches):
    futures = [batches.put("ab"[i % 2], i) for i in range(10)]
    work.gate.set()
    assert [future.result(10) for future in futures] == [i * i for i in range(10)]
    assert work.seen[1:] == [
        ("a", [0, 2, 4]),
        ("b", [1, 3, 5]),
        ("a", [6, 8]),
        ("b", [7, 9]),
    ]


def test_what_is_cancelled_is_left_out(work, batches):
    futures = [batches.put("a", i) for i in range(4)]
    assert futures[1].cancel()
    assert len(batches) == 3  # its photo is let go at once
    work.gate.set()
    assert [futures[i].result(10) for i in (0, 2, 3)] == [0, 4, 9]
    assert work.seen[1:] == [("a", [0, 2, 3])]


def test_an_error_is_of_the_one_that_causes_it(work, batches):
    futures = [batches.put("a", item) for item in (1, "bad", 3)]
    work.gate.set()
    assert futures[0].result(10) == 1
    assert futures[2].result(10) == 9
    with pytest.raises(ValueError, match="bad"):
        futures[1].result(10)


def test_closing_answers_what_waits(work, batches):
    future = batches.put("a", 5)
    threading.Timer(0.1, work.gate.set).start()
    batches.close()
    assert future.result(0) == 25


def test_what_happened_is_reported():
    reports = []
    batches = Batches(
        lambda key, items: items, lambda key: 8, report=lambda *one: reports.append(one)
    )
    batches.put("a", 1).result(10)
    batches.close()
    ((waited, took),) = reports
    assert len(waited) == 1
    assert 0 <= waited[0] < 5
    assert 0 <= took < 5
