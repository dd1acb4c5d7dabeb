"""Where injected defects lie: in the image, apart from each other and from what is already there, always the same."""

from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.inspect.detection_limit.injected_defects import DRAW, Planned, half_contrast
from flawmap.inspect.detection_limit.injection import QUIET, Design, InjectedImage, Injector
from flawmap.inspect.true_defects import TrueDefect
from tests.bundles import good_image

NOTHING = np.zeros((0, 4), np.int64)
SMALL = Design(sizes_px=(3, 5, 11), contrasts=(5.0, 8.0), per_image=30)


def inject(image: NDArray, planned: list[Planned], quiet_away_from: NDArray, gap_px: int) -> InjectedImage:
    return Injector(image, quiet_away_from, gap_px).inject(planned)


def gap(a: TrueDefect, b: TrueDefect) -> int:
    """Pixels between two boxes, along the axis where there are more."""
    return max(b.y0 - a.y1, a.y0 - b.y1, b.x0 - a.x1, a.x0 - b.x1)


def one(kind: str = "spot", size: int = 7, place: str = "anywhere", number: int = 0, contrast: float = 5.0) -> Planned:
    return Planned(number, kind, size, contrast if kind not in ("blur", "missing") else None, place, 3)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000), dtype=st.sampled_from(("uint8", "uint16", "float32")),
    channels=st.sampled_from((1, 3)), gap_px=st.sampled_from((8, 25, 60)),
    height=st.integers(40, 260), width=st.integers(40, 260),
)  # fmt: skip
def test_defects_are_apart_and_the_rest_is_untouched(
    seed: int, dtype: str, channels: int, gap_px: int, height: int, width: int
) -> None:
    image = good_image(height, width, channels=channels, dtype=dtype, seed=seed)
    before = image.copy()
    planned = Design(SMALL.sizes_px, SMALL.contrasts, SMALL.per_image, gap_px, seed).plan(1)[0]
    injected = inject(image, planned, NOTHING, gap_px)
    np.testing.assert_array_equal(image, before)
    assert injected.image.dtype == image.dtype and injected.image.shape == image.shape
    everything = [*(placed.planned for placed in injected.placed), *injected.no_room, *injected.not_showing]
    assert sorted(p.number for p in everything) == [p.number for p in planned]
    changed = (injected.image != image).reshape(height, width, -1).any(axis=2)
    for placed in injected.placed:
        defect = placed.defect
        assert 0 <= defect.y0 < defect.y1 <= height and 0 <= defect.x0 < defect.x1 <= width
        inside = changed[defect.y0 : defect.y1, defect.x0 : defect.x1]
        if placed.planned.kind in ("spot", "pit", "hairline"):
            assert inside[defect.pixels].all()  # half of at least five deviations is no rounding error
        assert defect.area_px == defect.pixels.sum() <= half_contrast(placed.planned.profile()).sum()
    # Whatever changed belongs to one defect, and so much good surface is around it.
    near = cv2.dilate(changed.astype(np.uint8), np.ones((gap_px - 1, gap_px - 1), np.uint8))
    labels = cv2.connectedComponents(near, connectivity=8)[1]
    owners = [
        labels[p.defect.y0 : p.defect.y1, p.defect.x0 : p.defect.x1][p.defect.pixels].max() for p in injected.placed
    ]
    assert len(set(owners)) == len(owners)
    again = inject(image, planned, NOTHING, gap_px)
    np.testing.assert_array_equal(again.image, injected.image)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1000),
    boxes=st.lists(st.tuples(st.integers(0, 180), st.integers(0, 180), st.integers(1, 20)), min_size=1, max_size=6),
)
def test_what_was_there_before_is_kept_away_from(seed: int, boxes: list[tuple[int, int, int]]) -> None:
    quiet = np.array([(y, x, y + side, x + side) for y, x, side in boxes], np.int64)
    planned = Design(SMALL.sizes_px, SMALL.contrasts, 20, 10, seed).plan(1)[0]
    for placed in inject(good_image(200, 200, seed=seed), planned, quiet, 10).placed:
        for y0, x0, y1, x1 in quiet.tolist():
            assert gap(placed.defect, TrueDefect(y0, x0, y1, x1, 1, np.ones((1, 1), bool))) >= QUIET


@pytest.mark.parametrize("kind", ["spot", "hairline", "smudge"])
def test_at_the_border(kind: str) -> None:
    """Each defect whole, at most 2 px from one of the four sides; all four sides are used."""
    image = good_image(150, 200)
    sides: set[int] = set()
    for number in range(30):
        defect = inject(image, [one(kind, place="border", number=number)], NOTHING, 10).placed[0].defect
        distances = (defect.y0, 150 - defect.y1, defect.x0, 200 - defect.x1)
        assert min(distances) <= 2
        sides.add(int(np.argmin(distances)))
        assert defect.size_px >= 6
    assert sides == {0, 1, 2, 3}


def test_on_an_edge() -> None:
    """One step in the image: 'edge' finds it, 'anywhere' mostly does not."""
    image = good_image(200, 200)
    image[:, 140:] += 60

    def columns(place: str) -> NDArray[np.int64]:
        boxes = [inject(image, [one(place=place, number=n)], NOTHING, 10).placed[0].defect for n in range(20)]
        return np.array([(box.x0 + box.x1) // 2 for box in boxes])

    assert (np.abs(columns("edge") - 140) < 14).mean() >= 0.8
    assert (np.abs(columns("anywhere") - 140) < 14).mean() < 0.5


def test_contrast_is_relative_to_what_is_around() -> None:
    """The left half varies four times as much as the right one."""
    rng = np.random.default_rng(0)
    image = (30_000 + rng.standard_normal((160, 320)) * np.repeat([400.0, 100.0], 160)).astype(np.uint16)
    for number in range(20):
        placed = inject(image, [one(number=number)], NOTHING, 10).placed[0]
        if placed.defect.x1 < 130:
            assert placed.deviation == pytest.approx(400, rel=0.2)
        elif placed.defect.x0 > 190:
            assert placed.deviation == pytest.approx(160, rel=0.4)  # not below the sensor's noise, the median over all
        assert placed.levels == pytest.approx(5 * placed.deviation, abs=1)


def test_too_large_for_the_image() -> None:
    injected = inject(good_image(30, 30), [one(size=41)], NOTHING, 10)
    assert not injected.placed and not injected.not_showing
    assert injected.no_room == [one(size=41)]


def test_room_for_one_at_a_time() -> None:
    planned = [one(number=n) for n in range(5)]
    injected = inject(good_image(60, 60), planned, NOTHING, 200)
    assert len(injected.placed) == 1
    assert len(injected.no_room) == 4


def test_what_would_not_show_is_told_apart() -> None:
    injected = inject(good_image(80, 80), [one("missing", 11), one(number=1)], NOTHING, 5)
    assert [p.kind for p in injected.not_showing] == ["missing"]
    assert [p.planned.kind for p in injected.placed] == ["spot"]


def test_the_plan_is_balanced() -> None:
    design = Design(sizes_px=(3, 9), contrasts=(2.0, 5.0), per_image=40)
    plan = design.plan(3)
    assert [len(image) for image in plan] == [40, 40, 40]
    defects = [defect for image in plan for defect in image]
    assert [defect.number for defect in defects] == list(range(120))
    counts = Counter((defect.kind, defect.size_px, defect.contrast) for defect in defects)
    assert set(counts.values()) == {6}  # 4 kinds x 2 sizes x 2 contrasts, and 2 kinds x 2 sizes: 20, six times
    assert {kind for kind, _, _ in counts} == set(DRAW)
    places = Counter(defect.place for defect in Design().plan(6)[0])
    assert places["anywhere"] > places["edge"] > places["border"] > 0
    assert design.plan(3) == plan
    assert Design(sizes_px=(3, 9), contrasts=(2.0, 5.0), per_image=40, seed=1).plan(3) != plan


def test_defects_are_put_where_something_counts() -> None:
    """All four corners of a defect lie where the look says, whatever it is and wherever it was meant to lie."""
    look = np.zeros((300, 400), np.uint8)
    look[40:200, 30:220] = 1
    image = np.random.default_rng(0).normal(128, 4, look.shape).clip(0, 255).astype(np.uint8)
    planned = Design().plan(1)[0]
    placed = Injector(image, np.zeros((0, 4), np.int64), 12, look).inject(planned).placed
    assert placed
    for one in placed:
        d = one.defect
        assert look[d.y0, d.x0] and look[d.y1 - 1, d.x1 - 1] and look[d.y0, d.x1 - 1] and look[d.y1 - 1, d.x0]
