"""Regions that were drawn on a picture of an aligned product, brought to where its reference shows them."""

from pathlib import Path

from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import read_image
from flawmap.tiling.look_map import LookMap
from flawmap.tiling.reading import Reading
from flawmap.tiling.registration.register import Registration
from flawmap.tiling.shrink import shrink


def laid_on(
    registration: Registration, look_map: LookMap, drawn_on: Path, reading: Reading, longest_side: int | None
) -> LookMap:
    """`look_map`, drawn on the picture `drawn_on`, as it lies on the reference of `registration`.

    `reading`, `longest_side`: how images of the product are read, and px to which they are shrunk, as `look_map` was.
    UsageError for a picture that cannot be read or registered.
    """
    try:
        pose = registration.register(shrink(read_image(drawn_on, reading), longest_side), drawn_on)
    except ImageError as error:
        raise UsageError(
            f"`where.polygons` were drawn on {drawn_on}, which cannot be laid on the product's reference: "
            f"{error.reason}; draw them on a good picture, or on the reference that the bundle holds"
        ) from None
    return LookMap(look_map.seen_by(pose.to_image))
