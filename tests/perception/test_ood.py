"""How sure the network is of a frame, beside figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from perception.frame import Frame
from perception.inference.engines import OnnxEngine
from perception.inference.ood import (
    QUANTILES,
    UncertaintyWatch,
    certainty_of,
    quantiles_of,
    share_below,
    uncertainty_of,
)
from perception.inference.predictor import Predictor
from perception.inference.zoo import shipped_models
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, DRIVABLE, LABELS, LABELS_OF_TWO
from perception.synthetic import DriveRenderer


def maps(direct: int = DIRECT) -> tuple[np.ndarray, np.ndarray]:
    """45x80 cells, 40 of the class `direct`: four of level 51, the others of 255; background of level 102."""
    confidence, class_map = np.full((45, 80), 102, np.uint8), np.full((360, 640), BACKGROUND, np.uint8)
    class_map[320:, :64] = direct  # 5 rows and 8 columns of cells
    confidence[40:, :8] = 255
    confidence[40, :4] = 51
    return confidence, class_map


@pytest.mark.parametrize(("labels", "direct"), [(LABELS, DIRECT), (LABELS_OF_TWO, DRIVABLE)])
def test_mean_and_low_are_those_of_the_first_classs_area(labels: tuple[str, ...], direct: int) -> None:
    certainty = certainty_of(*maps(direct), labels)

    assert certainty.mean == pytest.approx((36 * 1 + 4 * 0.2) / 40)
    assert certainty.p5 == pytest.approx(0.2)  # two of the 40 cells may be less sure, four are
    assert certainty.ood_score is None


def test_low_leaves_out_the_least_sure_twentieth() -> None:
    confidence, class_map = maps()
    confidence[40, 2:4] = 204

    assert certainty_of(confidence, class_map, LABELS).p5 == pytest.approx(0.8)


def test_graph_with_a_confidence_for_every_pixel_tells_the_same() -> None:
    confidence, class_map = maps()
    every_pixel = confidence.repeat(8, 0).repeat(8, 1)

    assert certainty_of(every_pixel, class_map, LABELS) == certainty_of(confidence, class_map, LABELS)


def test_alternative_lanes_count_for_doubt_and_not_for_the_direct_area() -> None:
    confidence, class_map = maps()
    class_map[:, 320:] = ALTERNATIVE  # 45 rows of 40 cells, of level 102

    assert certainty_of(confidence, class_map, LABELS).mean == pytest.approx(0.92)
    assert uncertainty_of(confidence, class_map) == pytest.approx(1 - (36.8 + 1800 * 0.4) / 1840)


@pytest.mark.parametrize("shape", [(360, 640), (1, 1)])
def test_frame_without_drivable_area_has_no_mean_and_full_doubt(shape: tuple[int, int]) -> None:
    class_map = np.full(shape, BACKGROUND, np.uint8)

    certainty = certainty_of(np.full((45, 80), 255, np.uint8), class_map, LABELS, (0.0, 0.1, 0.2))

    assert (certainty.mean, certainty.p5, certainty.ood_score) == (None, None, 1.0)


@pytest.mark.parametrize(
    ("uncertainty", "share"), [(0.0, 0.0), (0.1, 0.0), (0.15, 0.125), (0.2, 0.25), (0.9, 0.46875), (1.0, 0.5)]
)
def test_share_is_of_the_frames_with_less_doubt(uncertainty: float, share: float) -> None:
    assert share_below(uncertainty, (0.1, 0.2, 1.0, 1.0, 1.0)) == pytest.approx(share)


def test_doubt_beyond_all_frames_is_a_share_of_one() -> None:
    assert share_below(0.5, (0.1, 0.2, 0.3)) == 1.0


def test_frames_that_the_quantiles_were_taken_from_are_spread_evenly() -> None:
    uncertainties = np.random.default_rng(0).beta(1, 6, 151)

    quantiles = quantiles_of(uncertainties.tolist())

    assert len(quantiles) == QUANTILES
    shares = sorted(share_below(float(uncertainty), quantiles) for uncertainty in uncertainties)
    np.testing.assert_allclose(shares, np.linspace(0, 1, 151), atol=1 / QUANTILES)


@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_shipped_file_knows_the_built_in_road_and_does_not_know_noise(name: str) -> None:
    engine = OnnxEngine(shipped_models()[name], "cpu", threads=1)
    predict = UncertaintyWatch(Predictor(engine))
    noise = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)

    seen = [
        predict(Frame("fake", 0, 0, 0, image_bgr, "0")).certainty
        for image_bgr in (DriveRenderer("day", (640, 360)).render(10)[0], noise)
    ]

    shares = [each.ood_score for each in seen if each is not None and each.ood_score is not None]
    assert shares[0] < 0.5
    assert shares[1] > 0.9
    assert predict.uncertainties[0] < predict.uncertainties[1]
