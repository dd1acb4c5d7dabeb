"""The overview of one image: the whole picture, shrunk, every region as a box that can be seen, the worst numbered.

A 5x5 px dot is 1.5 px wide here, so boxes have a smallest size; thick lines on a dark rim stand out on any product.
A verdict is never told by colour alone: NG boxes are closed, all others are four corners.
"""

import cv2
import numpy as np

from flawmap.inspect.report.display import Picture, Pixels, Window, shrink_box, to_picture
from flawmap.inspect.run.records import RegionRecord
from flawmap.tiling.look_map import Look, resized

Rectangle = tuple[int, int, int, int]  # left, top, right, bottom in the overview

LONGEST_PX = 1600
SMALL_PX = 800  # a picture up to here is shown enlarged, or the numbers would hide it
SMALLEST_SIDE_PX = 64  # a line-scan strip of a few rows still has room for its boxes
BOX_MIN_PX = 32
DIMMED = 3  # what was not looked at has so much less light
TEXT_SCALE, TEXT_THICKNESS, TEXT_PADDING = 0.75, 2, 5
INK = (12, 14, 16)
VERDICT_COLOURS = {"NG": (255, 77, 61), "REVIEW": (255, 190, 46), "OK": (70, 200, 160), "ERROR": (178, 130, 255)}


def draw_overview(
    image: Pixels, window: Window, regions: list[RegionRecord], *, max_numbered: int, look: Look | None = None
) -> Picture:
    """RGB uint8, longer side at most LONGEST_PX, of an image [H, W] or [H, W, C].

    All `regions` get a box; the first `max_numbered`, which are drawn last and so on top, their number too. What
    `look` (uint8 [H, W]) leaves out is dimmed.
    """
    small = shrink_box(image, (0, 0, *image.shape[:2]), LONGEST_PX)
    enlarged = max(1, min(4, LONGEST_PX // max(small.shape[:2]))) if max(small.shape[:2]) <= SMALL_PX else 1
    picture = to_picture(small, window).copy()  # an image small enough is drawn on otherwise
    if look is not None:
        outside = resized(look, picture.shape[:2]) == 0
        picture[outside] = picture[outside] // DIMMED
    if enlarged > 1:
        picture = picture.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    scale_y, scale_x = picture.shape[0] / image.shape[0], picture.shape[1] / image.shape[1]
    high, wide = (max(0, SMALLEST_SIDE_PX - side) for side in picture.shape[:2])
    top, left = high // 2, wide // 2
    if high or wide:
        picture = np.pad(picture, ((top, high - top), (left, wide - left), (0, 0)))  # black
    boxes = [
        _visible(
            (
                round(region.x_min * scale_x) + left,
                round(region.y_min * scale_y) + top,
                round(region.x_max * scale_x) + left,
                round(region.y_max * scale_y) + top,
            ),
            picture,
        )
        for region in regions
    ]
    for region, box in reversed(list(zip(regions, boxes, strict=True))):
        _draw_box(picture, box, region.verdict)
    taken = list(boxes[:max_numbered])
    for region, box in list(zip(regions, boxes, strict=True))[:max_numbered]:
        _draw_number(picture, box, region, taken)
    return picture


def _visible(box: Rectangle, picture: Picture) -> Rectangle:
    """`box` widened about its middle to BOX_MIN_PX and moved inside the picture."""
    left, right = _stretch(box[0], box[2], picture.shape[1])
    top, bottom = _stretch(box[1], box[3], picture.shape[0])
    return left, top, right, bottom


def _stretch(first: int, last: int, length: int) -> tuple[int, int]:
    """One axis of `_visible`: a few px of air around the region, so that the line does not hide what it frames."""
    size = min(max(last - first + 10, BOX_MIN_PX), length)
    start = min(max((first + last - size) // 2, 0), length - size)
    return start, start + size - 1


def _draw_box(picture: Picture, box: Rectangle, verdict: str) -> None:
    left, top, right, bottom = box
    colour = VERDICT_COLOURS[verdict]
    arm_x, arm_y = max(5, (right - left) // 4), max(5, (bottom - top) // 4)
    corners = [
        np.array([[x + step_x, y], [x, y], [x, y + step_y]], np.int32)
        for x, step_x in ((left, arm_x), (right, -arm_x))
        for y, step_y in ((top, arm_y), (bottom, -arm_y))
    ]
    for ink, thickness in ((INK, 5), (colour, 3)):
        if verdict == "NG":
            cv2.rectangle(picture, (left, top), (right, bottom), ink, thickness)
        else:
            cv2.polylines(picture, corners, False, ink, thickness)


def _draw_number(picture: Picture, box: Rectangle, region: RegionRecord, taken: list[Rectangle]) -> None:
    """The region's number on a tag of its colour, at that side of its box where it hides least of boxes and tags."""
    text = str(region.region)
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, TEXT_SCALE, TEXT_THICKNESS)
    tag_wide, tag_high = wide + 2 * TEXT_PADDING, high + 2 * TEXT_PADDING
    left, top, right, bottom = box
    room_x, room_y = max(0, picture.shape[1] - tag_wide), max(0, picture.shape[0] - tag_high)
    corners = (
        (right + 4, top - 2),
        (left - tag_wide - 4, top - 2),
        (left - 2, top - tag_high - 4),
        (left - 2, bottom + 5),
    )
    tags = [
        (x, y, x + tag_wide, y + tag_high)
        for x, y in ((min(max(x, 0), room_x), min(max(y, 0), room_y)) for x, y in corners)
    ]
    tag = min(tags, key=lambda tag: sum(_overlap(tag, other) for other in taken))
    taken.append(tag)
    cv2.rectangle(picture, tag[:2], tag[2:], INK, 2)
    cv2.rectangle(picture, tag[:2], tag[2:], VERDICT_COLOURS[region.verdict], -1)
    origin = (tag[0] + TEXT_PADDING, tag[3] - TEXT_PADDING)
    cv2.putText(picture, text, origin, cv2.FONT_HERSHEY_SIMPLEX, TEXT_SCALE, INK, TEXT_THICKNESS, cv2.LINE_AA)


def _overlap(one: Rectangle, other: Rectangle) -> int:
    """Area in px that two rectangles share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, wide) * max(0, high)
