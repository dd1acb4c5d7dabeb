"""Registers each image of an aligned product onto its reference, and shows the reference as that image would see it."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import CONTEXT, Bundle
from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.errors import UsageError
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.register import Registration

Image = NDArray[Any]


class Aligner:
    """Holds the reference of one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        """UsageError for a reference that cannot be read or is not what bundle.json says."""
        info = bundle.info
        try:
            context = np.load(bundle.folder / CONTEXT, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"`bundle` (={bundle.folder}): its reference cannot be read: {error}") from error
        alignment = info.alignment
        expected = None if alignment is None else (alignment.height, alignment.width, info.image.channels + 1)
        if context.shape != expected or context.dtype != info.image.dtype:
            raise UsageError(
                f"`bundle` (={bundle.folder}): its reference is {context.dtype} {list(context.shape)}, "
                f"it must be {info.image.dtype} {list(expected or ())}"
            )
        self.reference = ContextMap(context)
        self.registration = Registration(self.reference.image)
        self.slack = 0 if alignment is None else alignment.slack

    def align(self, image: Image) -> tuple[Pose, Image]:
        """(where the product lies in `image` [H, W] or [H, W, C], the context as the image sees it [H, W, C + 1]).

        ImageError, with the reason, for an image that cannot be registered.
        """
        pose = self.registration.register(image)
        context, local = self.reference.laid_on(image, pose.to_reference, self.slack)
        return replace(pose, displaced=local.largest), context
