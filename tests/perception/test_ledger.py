"""The ledger: captured = published + withheld + dropped + in flight, at every moment."""

from __future__ import annotations

from threading import Thread

from perception.pipeline.ledger import Ledger


def test_new_books_are_empty() -> None:
    assert Ledger().balance() == {
        "captured": 0,
        "published": 0,
        "withheld": 0,
        "dropped": {},
        "in_flight": 0,
    }


def test_frames_neither_published_nor_dropped_are_in_flight() -> None:
    ledger = Ledger()
    for _ in range(5):
        ledger.capture()

    ledger.publish()
    ledger.drop("newer frame")

    assert ledger.balance()["in_flight"] == 3


def test_drops_are_told_by_reason_and_in_all() -> None:
    ledger = Ledger()

    ledger.drop("newer frame")
    ledger.drop("run ended", 3)
    ledger.drop("newer frame")

    assert ledger.balance()["dropped"] == {"newer frame": 2, "run ended": 3}
    assert ledger.dropped == 5


def test_balance_is_a_copy() -> None:
    ledger = Ledger()
    ledger.drop("newer frame")
    before = ledger.balance()

    ledger.drop("newer frame")

    assert before["dropped"] == {"newer frame": 1}


def test_no_count_is_lost_between_threads() -> None:
    ledger = Ledger()

    def work() -> None:
        for _ in range(2000):
            ledger.capture()
            ledger.publish()

    threads = [Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5.0)

    assert (ledger.captured, ledger.published) == (8000, 8000)


def test_more_is_never_gone_than_came_in() -> None:
    ledger = Ledger()

    def work() -> None:
        for number in range(3000):
            ledger.capture()
            if number % 2:
                ledger.publish()
            else:
                ledger.drop("newer frame")

    worker = Thread(target=work, daemon=True)
    worker.start()
    seen = [ledger.balance()["in_flight"]]
    while worker.is_alive():
        seen.append(ledger.balance()["in_flight"])

    assert set(seen) <= {0, 1}
