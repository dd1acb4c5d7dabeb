"""Finds out which pixels of the good images count, from what a part description says of where to look."""

from dataclasses import replace

from flawmap.tiling.errors import UsageError
from flawmap.tiling.look_map import LookMap, WhereToLook
from flawmap.tiling.plain_background import PlainBackground
from flawmap.tiling.registration.drawn_map import laid_on
from flawmap.tiling.registration.register import Registration
from flawmap.tiling.shrink import shrunk_size
from flawmap.training.config import ImageSettings
from flawmap.training.counted import Counted
from flawmap.training.good_images import GoodImages


def count(
    train: GoodImages, held_out: GoodImages, where: WhereToLook, settings: ImageSettings
) -> tuple[GoodImages, GoodImages]:
    """`train` and `held_out`, aligned already where they are, with what counts of them; as they are where all does.

    UsageError: an image of another size than the map of `where`, a picture it was drawn on that does not show the
    product, no plain background where there should be one.
    """
    look_map = None if where.look_map is None else _fitting_map(where, [train, held_out], settings)
    background = None
    if where.plain_background:
        background = PlainBackground.measure(train.image(index) for index in range(len(train.paths)))
    if look_map is None and background is None:
        return train, held_out
    counted = []
    for images in (train, held_out):
        backgrounds = [] if background is None else [background.find(images.image(i)) for i in range(len(images.paths))]
        padded_sizes = [(padded.shape[0], padded.shape[1]) for padded in images.padded]
        found = Counted(
            images.sizes, padded_sizes, images.border, images.padding, look_map, images.to_reference, backgrounds
        )
        counted.append(replace(images, counted=found))
    return counted[0], counted[1]


def _fitting_map(where: WhereToLook, parts: list[GoodImages], settings: ImageSettings) -> LookMap:
    """The map in the plane of the reference, or of all images; UsageError for one of another size."""
    assert where.look_map is not None
    height, width = where.look_map.shape
    expected = shrunk_size((height, width), settings.longest_side)
    for images in parts:
        for path, size in zip(images.paths, images.sizes, strict=True):
            if size != expected:
                raise UsageError(
                    f"where to look was drawn on a picture of {width}x{height} px, {path} has {size[1]}x{size[0]} px"
                )
    look_map = where.look_map.shrunk(settings.longest_side)
    reference = parts[0].reference
    if reference is None or where.drawn_on is None:
        return look_map
    return laid_on(Registration(reference.image), look_map, where.drawn_on, settings.reading, settings.longest_side)
