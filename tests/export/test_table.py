"""`drivable-export table` exports each network for both targets and prints each row when it is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from export import verify
from export.table import TableConfig, table


@pytest.fixture(autouse=True)
def _few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.frames.PARITY_FRAMES", 2)


@pytest.mark.slow
@pytest.mark.parametrize(("max_difference", "status", "text"), [(1e-2, 0, "100.000 %"), (-1.0, 1, "refused")])
def test_both_targets_stand_in_the_table_and_a_refusal_ends_with_1(
    max_difference: float,
    status: int,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = verify.LIMITS | {"fp32": replace(verify.LIMITS["fp32"], max_difference=max_difference)}
    monkeypatch.setattr("export.run.LIMITS", limits)
    monkeypatch.chdir(tmp_path)
    rows: list[str] = []

    assert table(TableConfig(["rt_s"], "runs", (64, 32)), rows.append) == status

    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert {len(row) for row in cells} == {7}
    assert [row[:3] for row in cells[2:]] == [["rt_s", "random", "cpu"], ["rt_s", "random", "gpu"]]
    assert text in rows[2]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"models": []}, "models is empty"),
        ({"models": ["rt_x"]}, "unknown model 'rt_x'; known: rt_s"),
        ({"size_wh": (0, 0)}, "both sides must be from 32 to 8192"),
    ],
)
def test_table_that_cannot_be_made_is_refused_beforehand(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        TableConfig(**settings)  # type: ignore[arg-type]
