"""The moving average forgets the random start, and schedules end where they should."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from train.optimise import SCHEDULES, moving_average  # noqa: E402


def test_average_follows_the_weights_slowly_and_the_counts_at_once() -> None:
    model = torch.nn.BatchNorm1d(1)
    average = moving_average(model, 0.5)
    assert average is not None
    with torch.no_grad():
        model.weight.fill_(0.0)
        average.update_parameters(model)  # the first one is taken as it is
        model.weight.fill_(1.0)
        model.num_batches_tracked.fill_(7)
        for _ in range(200):
            average.update_parameters(model)

    assert average.module.num_batches_tracked == 7
    torch.testing.assert_close(average.module.weight, torch.ones(1))


def test_average_keeps_less_while_it_is_young() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average = moving_average(model, 0.999)
    assert average is not None
    with torch.no_grad():
        model.weight.fill_(0.0)
        average.update_parameters(model)
        model.weight.fill_(1.0)
        average.update_parameters(model)

    assert average.module.weight.item() == pytest.approx(1 - 2 / 11)


def test_decay_of_zero_keeps_no_average() -> None:
    assert moving_average(torch.nn.Linear(1, 1), 0.0) is None


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_never_exceeds_its_rate_and_ends_low(name: str) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1, momentum=0.9)
    schedule = SCHEDULES[name](optimiser, 0.1, 70)
    rates = []
    for _ in range(70):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()

    assert max(rates) == pytest.approx(0.1, rel=0.01)
    assert rates[-1] < 0.01


def test_onecycle_is_the_published_one() -> None:
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 3e-4)
    schedule = SCHEDULES["onecycle"](optimiser, 3e-4, 100)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()

    assert rates[0] == pytest.approx(3e-5)
    assert rates.index(max(rates)) == 29
    assert max(rates) == pytest.approx(3e-4)
