"""Where defects gather."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flawmap.inspect.report.defect_map import CELLS_ALONG, MARKS_MAX, defect_maps
from tests.written_runs import image_record, region


@given(st.lists(st.lists(st.tuples(st.integers(0, 630), st.integers(0, 470)), max_size=5), min_size=1, max_size=8))
def test_cells_count_images_as_a_slow_count_does(places: list[list[tuple[int, int]]]) -> None:
    records = [
        image_record(str(i), regions=[region((y, x, y + 5, x + 5), n) for n, (x, y) in enumerate(spots, start=1)])
        for i, spots in enumerate(places)
    ]
    (found,) = defect_maps(records)
    columns, rows = CELLS_ALONG, round(480 / (640 / CELLS_ALONG))
    counts = np.zeros((rows, columns), int)
    for spots in places:
        seen = {(int((y + 2.5) / (480 / rows)), int((x + 2.5) / (640 / columns))) for x, y in spots}
        for row, column in seen:
            counts[row, column] += 1
    drawn = {(round(cell.y / cell.height), round(cell.x / cell.width)): cell.n_images for cell in found.cells}
    assert drawn == {(r, c): counts[r, c] for r, c in np.argwhere(counts >= 2).tolist()}
    assert [cell.n_images for cell in found.cells] == sorted(drawn.values(), reverse=True)
    assert (found.n_images, found.n_regions) == (len(places), sum(map(len, places)))


def test_images_of_another_size_lie_on_the_same_outline() -> None:
    usual = [image_record(str(i), regions=[region((100, 200, 120, 230))]) for i in range(3)]
    double = image_record("large", width=1280, height=960, regions=[region((200, 400, 240, 460))])
    (found,) = defect_maps([*usual, double])
    assert (found.width, found.height) == (640, 480)
    assert {(mark.x, mark.y, mark.width, mark.height) for mark in found.marks} == {(200, 100, 30, 20)}
    assert [cell.n_images for cell in found.cells] == [4] and found.places[0].share == 1


def test_one_image_full_of_regions_is_no_gathering() -> None:
    (found,) = defect_maps([image_record("a", regions=[region((9, 9, 12, 12), n) for n in range(1, 50)])])
    assert found.cells == [] and len(found.marks) == 49


def test_a_dot_can_be_seen_at_its_place() -> None:
    (found,) = defect_maps([image_record("a", width=5120, height=5120, regions=[region((1000, 3000, 1005, 3005))])])
    mark = found.marks[0]
    assert mark.width == mark.height == 41  # 0.8 % of 5120
    assert (mark.x + mark.width / 2, mark.y + mark.height / 2) == (3002.5, 1002.5)


def test_the_most_severe_are_drawn_and_all_are_counted() -> None:
    spots = [region((9, 9, 12, 12), n, severity=float(n)) for n in range(1, MARKS_MAX + 501)]
    (found,) = defect_maps([image_record("a", regions=spots[:1500]), image_record("b", regions=spots[1500:])])
    assert (found.n_regions, len(found.marks)) == (MARKS_MAX + 500, MARKS_MAX)
    assert found.marks[0].severity == 501 and found.marks[-1].severity == MARKS_MAX + 500  # the worst on top
    assert found.cells[0].n_regions == MARKS_MAX + 500


def test_cameras_errors_and_what_rules_dropped() -> None:
    records = [
        image_record("a", camera="top", regions=[region((1, 1, 5, 5)), region((1, 1, 5, 5), 2, verdict="OK")]),
        image_record("b", camera="side", width=10, height=2000),
        image_record("c", camera="back", verdict="ERROR", width=0, height=0),
    ]
    maps = defect_maps(records)
    assert [(one.camera, one.n_regions) for one in maps] == [("side", 0), ("top", 1)]
    assert defect_maps([]) == []
