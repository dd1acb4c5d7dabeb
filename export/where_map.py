"""Draws where to look: polygons and mask of a part description become one look map."""

import difflib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flawmap.export.where_record import EXCLUDE, INCLUDE, Where
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import read_image
from flawmap.tiling.labelme import Drawing, Shape, read_labelme
from flawmap.tiling.look_map import FIRST_ZONE, INSIDE, OUTSIDE, LookMap, WhereToLook

LOSSY = (".jpg", ".jpeg")


def draw_where(where: Where, folder: Path) -> WhereToLook:
    """What `where` says, its files named from `folder`, as a map of pixels.

    What counts is what lies in an `include` polygon or a zone, or everything where no `include` is drawn; not what lies
    in an `exclude` polygon or where the mask is 0. Where zones overlap, the last one in `where.zones` counts.

    UsageError: a file that cannot be read, a label that means nothing, a zone that is drawn nowhere or lies all outside
    what counts, a mask of another size than the picture of the polygons, nothing left that counts.
    """
    plain_background = where.background == "plain"
    if not where.is_drawn:
        return WhereToLook(plain_background=plain_background)
    drawing = read_labelme(folder / where.polygons) if where.polygons is not None else None
    mask = _read_mask(folder / where.mask) if where.mask is not None else None
    if drawing is None:
        assert mask is not None  # or nothing would be drawn
        pixels = np.full(mask.shape, INSIDE, np.uint8)
    else:
        pixels = _draw(where, drawing)
    if mask is not None:
        if mask.shape != pixels.shape:
            raise UsageError(
                f"`where.mask` (={where.mask}) is {_size(mask)} px, the picture of `where.polygons` "
                f"(={where.polygons}) {_size(pixels)} px: they must be drawn on the same picture"
            )
        pixels[mask == 0] = OUTSIDE
    _check_left(where, pixels)
    return WhereToLook(LookMap(pixels), drawing.picture if drawing is not None else None, plain_background)


def _draw(where: Where, drawing: Drawing) -> NDArray[np.uint8]:
    by_label: dict[str, list[Shape]] = {INCLUDE: [], EXCLUDE: [], **{zone.name: [] for zone in where.zones}}
    for number, shape in enumerate(drawing.shapes, start=1):
        if shape.label not in by_label:
            nearest = difflib.get_close_matches(shape.label, by_label, n=1, cutoff=0.0)[0]
            raise UsageError(
                f"`where.polygons` (={where.polygons}): shape {number} has the label `{shape.label}`, which is neither "
                f"`{INCLUDE}` nor `{EXCLUDE}` nor the name of a zone in `where.zones`: did you mean `{nearest}`?"
            )
        by_label[shape.label].append(shape)
    if not drawing.shapes:
        raise UsageError(f"`where.polygons` (={where.polygons}) holds no shape: draw one, or leave the key out")
    base = OUTSIDE if by_label[INCLUDE] else INSIDE
    pixels = np.full((drawing.height, drawing.width), base, np.uint8)
    values = {INCLUDE: INSIDE, **{zone.name: FIRST_ZONE + k for k, zone in enumerate(where.zones)}, EXCLUDE: OUTSIDE}
    for label, value in values.items():
        if not by_label[label] and label not in (INCLUDE, EXCLUDE):
            raise UsageError(
                f"`where.zones`: zone `{label}` is drawn nowhere: `where.polygons` (={where.polygons}) has no shape "
                "with that label"
            )
        for shape in by_label[label]:
            shape.fill(pixels, value)
    return pixels


def _read_mask(path: Path) -> NDArray[np.uint8]:
    """0 where the mask is, 1 elsewhere; uint8 [H, W]."""
    if path.suffix.lower() in LOSSY:
        raise UsageError(f"`where.mask` (={path}) must be PNG, BMP or TIFF: JPEG does not keep an exact 0")
    try:
        mask = read_image(path)
    except ImageError as error:
        raise UsageError(f"`where.mask` (={path}) cannot be read: {error.reason}") from None
    return ((mask if mask.ndim == 2 else mask.max(axis=2)) > 0).astype(np.uint8)


def _check_left(where: Where, pixels: NDArray[np.uint8]) -> None:
    counts = np.bincount(pixels.ravel(), minlength=FIRST_ZONE + len(where.zones))
    sources = [f"`where.{key}` (={getattr(where, key)})" for key in ("polygons", "mask") if getattr(where, key)]
    if not counts[INSIDE:].any():
        raise UsageError(f"{' and '.join(sources)} leave{'s' if len(sources) == 1 else ''} nothing to look at")
    for zone, count in zip(where.zones, counts[FIRST_ZONE:], strict=False):
        if not count:
            raise UsageError(
                f"`where.zones`: zone `{zone.name}` has no pixel left: it lies in `{EXCLUDE}`, in the mask or under "
                "a later zone"
            )


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
