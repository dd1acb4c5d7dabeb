"""References that leave some of their images out: what a picture that none of them has seen is compared with.

A reference of five pictures lies nearer to these five than to the sixth, and their spread holds what they show, however
far they wander: whoever learns from these alone what differences are good learns them too small (optimism; Stone,
"Cross-validatory choice and assessment of statistical predictions", Journal of the Royal Statistical Society B 36,
1974). So training shows each picture what the others say, where these are as many as make a reference.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.registration.reference import FEWEST_IMAGES, ReferencePicture, average_aligned, row_bands

PARTS = 6  # each picture is left out with a sixth of them, of a handful by itself


def contexts_without(
    built: ReferencePicture, paths: Sequence[Path | str], read: Callable[[Any], NDArray[Any]]
) -> Iterator[tuple[list[int], ContextMap]]:
    """(some of the averaged images, what all the others show), until each of them was left out once.

    Nothing where the others would be fewer than `FEWEST_IMAGES`. Images by their number in `paths`, from which `built`
    was made with `read`; all contexts lie in its plane.
    """
    n_averaged = len(built.averaged)
    if n_averaged - math.ceil(n_averaged / PARTS) < FEWEST_IMAGES:
        return
    first = read(paths[0])
    bands = row_bands(first, n_averaged)

    def context_of(kept: Sequence[int]) -> ContextMap:
        numbers = [built.averaged[k] for k in kept]
        poses = [built.poses[number] for number in numbers]
        local = [built.local[k] for k in kept] if built.local else ()
        image, spread, _ = average_aligned(first, poses, bands, lambda k: read(paths[numbers[k]]), local)
        return ContextMap.of(image, spread)

    for part in range(PARTS):
        kept = [k for k in range(n_averaged) if k % PARTS != part]
        yield list(built.averaged[part::PARTS]), context_of(kept)
