"""Aligned products: one layout in every picture but for a small shift and turn, as of a board or a printed sheet.

Good images are registered onto one another and give the reference and its spread, which the network, or the golden
template, is shown beside each tile: see `flawmap.tiling.context_map`. In training of a network an image is compared
with what the others show, as inspection compares images that the reference was not made of, where there are enough:
`flawmap.tiling.registration.left_out`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.errors import UsageError
from flawmap.tiling.registration.aligned import looks_aligned
from flawmap.tiling.registration.left_out import PARTS, contexts_without
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.reference import FEWEST_IMAGES, ReferencePicture, build_reference
from flawmap.tiling.registration.register import Registration
from flawmap.training.config import ALIGNED_KINDS, TrainConfig
from flawmap.training.good_images import GoodImages

LOG = logging.getLogger(__name__)


def align(
    train: GoodImages, held_out: GoodImages, config: TrainConfig, report: Callable[[float, str], None]
) -> tuple[GoodImages, GoodImages]:
    """`train` and `held_out` with a reference built from the former, or as they are where the product is not aligned.

    Raises:
        UsageError: `alignment` is true, or the model a template, and the images are too few, differ in size, or, for a
            template alone, do not show one layout. ImageError: one cannot be registered.
    """
    if not _wanted(train, held_out, config):
        return train, held_out
    built = build_reference(
        train.paths,
        _reader(train),
        lambda done, total: report(0.0, f"registering good images onto one another, {done} of {total}"),
        reach=config.alignment_slack,
    )
    reference = ContextMap.of(built.image, built.spread)
    shown = [reference] * len(train.paths)
    if config.network.kind == "repair":  # a template learns nothing from the images that it was made of
        shown = _what_others_show(built, reference, train, report)
    registration = Registration(built.image)
    poses = [registration.register(held_out.image(i), path) for i, path in enumerate(held_out.paths)]
    return (
        _laid(train, reference, shown, built.poses, config),
        _laid(held_out, reference, [reference] * len(poses), poses, config),
    )


def _what_others_show(
    built: ReferencePicture, reference: ContextMap, train: GoodImages, report: Callable[[float, str], None]
) -> list[ContextMap]:
    """For each image of `train` what the others show, the `reference` of all where these are too few to tell."""
    shown = [reference] * len(train.paths)
    for done, (numbers, others) in enumerate(contexts_without(built, train.paths, _reader(train)), start=1):
        report(0.0, f"comparing good images with the others, {done} of {PARTS}")
        for number in numbers:
            shown[number] = others
    if all(context is reference for context in shown):
        LOG.info(
            "each image is compared with a reference that it is part of: %d good images to learn from leave too few "
            "others; with more, good parts light up less",
            len(train.paths),
        )
    return shown


def _laid(
    images: GoodImages,
    reference: ContextMap,
    shown: list[ContextMap],
    poses: Sequence[Pose],
    config: TrainConfig,
) -> GoodImages:
    """`images` with their places in `reference`'s plane, each to be shown its own of `shown`."""
    to_reference = [pose.to_reference for pose in poses]
    local = [
        context.laid_on(images.image(index), matrix, config.alignment_slack)[1]
        for index, (context, matrix) in enumerate(zip(shown, to_reference, strict=True))
    ]
    displaced = max(each.largest for each in local)
    if displaced:
        LOG.info("parts of the layout lie up to %.1f px beside their place in good images", displaced)
    return replace(images, reference=reference, shown=shown, to_reference=to_reference, local=local)


def _wanted(train: GoodImages, held_out: GoodImages, config: TrainConfig) -> bool:
    if config.alignment is False or config.network.kind not in ALIGNED_KINDS:
        return False
    asked = _asked_by(config)
    if train.in_windows or held_out.in_windows:  # what is asked for has had them read as a whole
        LOG.info("alignment is off: pictures are too large to be registered as a whole")
        return False
    sizes = dict(zip(train.sizes + held_out.sizes, train.paths + held_out.paths, strict=True))
    if len(sizes) > 1:
        if asked:
            (a, first), (b, second) = list(sizes.items())[:2]
            raise UsageError(
                f"{asked} needs good images of one size: {first} is {a[1]}x{a[0]} px, {second} is {b[1]}x{b[0]} px"
            )
        return False
    if len(train.paths) < FEWEST_IMAGES:
        if asked:
            raise UsageError(
                f"{asked} needs {FEWEST_IMAGES} good images to learn from, the split leaves "
                f"{len(train.paths)}: give more, or lower `split.calibrate_share`"
            )
        return False
    if config.alignment is True:
        return True
    found = looks_aligned(train.paths, _reader(train))
    LOG.info("alignment is %s: %s", "on" if found.aligned else "off", found.reason)
    if asked and not found.aligned:
        raise UsageError(
            f"{asked} needs an aligned product, one layout in every picture: {found.reason}; "
            "`alignment: true` takes it for one all the same"
        )
    return found.aligned


def _asked_by(config: TrainConfig) -> str:
    """What of the settings cannot do without a reference; empty where it is to be found out whether there is one."""
    if config.alignment is True:
        return "`alignment` (=true)"
    return "`network.kind` (=template)" if config.network.kind == "template" else ""


def _reader(images: GoodImages) -> Callable[[Path | str], NDArray[Any]]:
    """Gives images that are in memory by their paths."""
    index_of = {path: index for index, path in enumerate(images.paths)}
    return lambda path: images.image(index_of[Path(path)])
