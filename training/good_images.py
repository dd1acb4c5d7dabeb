"""Good images in memory, padded as inspection pads them, with the statistics that everything else is measured in."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.context_map import ContextMap, Matrix
from flawmap.tiling.errors import UsageError
from flawmap.tiling.grid import Box
from flawmap.tiling.images import describe
from flawmap.tiling.padding import Padding
from flawmap.tiling.reading import AS_THEY_ARE, Reading
from flawmap.tiling.registration.local import LocalShifts
from flawmap.training.counted import Counted
from flawmap.training.padded_pictures import Geometry, PaddedPicture, read_padded

READERS = 4
SAMPLED_PIXELS = 1 << 20  # an image, for mean and standard deviation
CAMERA_BITS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class Normalisation:
    """Maps pixel values to about zero mean and unit variance, channel by channel: (value - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, pixels: NDArray[np.generic]) -> NDArray[np.float32]:
        """[..., H, W] or [..., H, W, C] of any dtype -> float32 of the same shape."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        if len(self.mean) == 1:
            mean, std = mean.reshape(()), std.reshape(())
        return (pixels.astype(np.float32) - mean) / std


@dataclass(frozen=True)
class GoodImages:
    """Padded images [H, W] or [H, W, C] of one dtype and channel count; `left_out` did not fit the memory allowed.

    Of pictures too large to be held as a whole there are windows, each an image of its own, without padding where it
    is not the picture's end (see `flawmap.training.padded_pictures`): `paths` then names a picture once a window, and
    `sizes` are the picture's. Of an aligned product, `reference` is what it shows at each place and `shown` what each
    image is compared with; `to_reference` holds a matrix for each image, and `local` what that leaves over. `counted`
    tells which pixels count, where not all of them do.
    """

    paths: list[Path]
    padded: list[NDArray[np.generic]]
    border: int
    left_out: int
    sizes: list[tuple[int, int]]  # height and width, px, of each image without its padding
    tops: list[int] = field(default_factory=list)  # of windows of larger pictures: their first rows, padding included
    in_windows: bool = False  # whether there are any such
    padding: Padding = "reflect"  # what the padding shows
    reference: ContextMap | None = None
    shown: list[ContextMap] = field(default_factory=list)
    to_reference: list[Matrix] = field(default_factory=list)
    local: list[LocalShifts] = field(default_factory=list)
    bits: int | None = None  # significant ones of uint16, where a setting or the files say them
    counted: Counted | None = None

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.padded[0].dtype

    @property
    def channels(self) -> int:
        return 1 if self.padded[0].ndim == 2 else self.padded[0].shape[2]

    @property
    def n_pictures(self) -> int:
        return len(set(self.paths))

    def place_in_picture(self, index: int, y: int, x: int) -> tuple[int, int]:
        """(y, x) in the picture of pixel (`y`, `x`) in padded image `index`."""
        return y + (self.tops[index] if self.tops else 0) - self.border, x - self.border

    def picture_box(self, index: int) -> Box:
        """Where the picture lies in padded image `index`; of a window, what the window holds of it."""
        padded_height = len(self.padded[index])
        top = self.border - (self.tops[index] if self.tops else 0)
        height, width = self.sizes[index]
        return Box(max(0, top), self.border, min(padded_height, top + height), self.border + width)

    def image(self, index: int) -> NDArray[np.generic]:
        """Image `index` without its padding, [H, W] or [H, W, C]; not a copy."""
        height, width = self.sizes[index]
        return self.padded[index][self.border : self.border + height, self.border : self.border + width]

    def draw(self, rng: np.random.Generator) -> int:
        """The index of a random image, of one of which something counts."""
        return int(rng.integers(len(self.padded))) if self.counted is None else self.counted.draw_image(rng)

    def context(
        self, index: int, y: int, x: int, height: int, width: int, shift: tuple[float, float] = (0.0, 0.0)
    ) -> NDArray[np.generic] | None:
        """What image `index` is compared with at (`y`, `x`) of its padded picture, [height, width, C + 1].

        `shift`: px (x, y) by which it is seen beside its place, as a registration may err. None without a reference.
        """
        if self.reference is None:
            return None
        matrix = self.to_reference[index].copy()
        matrix[:, 2] += shift
        return self.shown[index].tile(matrix, self.border, self.padding, y, x, height, width, self.local[index])

    @property
    def full_scale(self) -> float:
        """The largest value the camera writes: 255, or 4095 where it fills 12 of 16 bits; 1 for most float32.

        Where nobody says how many bits count, it is that of the least camera that could have written these images.
        """
        if self.dtype == np.uint8:
            return 255.0
        if self.bits is not None:
            return float(2**self.bits - 1)
        if self.dtype.kind != "u":
            return max(1.0, self.largest)
        return float(2 ** next(bits for bits in CAMERA_BITS if self.largest < 2**bits) - 1)

    @cached_property
    def largest(self) -> float:
        """Of all pixels."""
        return max(float(image.max()) for image in self.padded)


def read_good_images(
    paths: list[Path],
    *,
    tile_size: int,
    multiple: int,
    border: int,
    padding: Padding,
    cache_gib: float,
    longest_side: int | None = None,
    reading: Reading = AS_THEY_ARE,
    needs_whole: str = "",
    report: Callable[[int, int], None] = lambda done, total: None,
) -> GoodImages:
    """Reads images in parallel until `cache_gib` GiB are full; the caller shuffles `paths` if order should not decide.

    Images with a side of more than `longest_side` px are shrunk to it, as inspection shrinks them. Of pictures too
    large to be held as a whole come windows, as many as let each picture have its share of `cache_gib`, unless
    `needs_whole` says what needs them whole.

    Raises:
        ImageError: an image cannot be read, or is too large for what needs it whole. A training set is not a
            production folder: nothing is skipped in silence.
        UsageError: images differ in dtype, channels or significant bits.
    """
    budget = int(cache_gib * 2**30)
    found: list[tuple[Path, PaddedPicture]] = []
    read = partial(
        read_padded,
        geometry=Geometry(tile_size, multiple, border, padding),
        reading=reading,
        longest_side=longest_side,
        needs_whole=needs_whole,
        most_bytes=budget // max(1, len(paths)),
    )
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(paths), READERS):
            some = paths[start : start + READERS]
            for path, picture in zip(some, pool.map(read, some), strict=True):
                first = found[0][1] if found else picture
                check_alike(paths[0], first.windows[0].padded, path, picture.windows[0].padded)
                found.append((path, picture))
                budget -= picture.nbytes
            report(len(found), len(paths))
            if budget <= 0:
                break
    images = _images_of(found, border, padding, left_out=len(paths) - len(found))
    if images.bits is not None and images.largest > images.full_scale:  # of a file that says nothing
        said = next(path for path, picture in found if picture.bits == images.bits)
        raise UsageError(
            f"good images differ: {said} is of {images.bits} bits, another holds values of "
            f"{images.largest:g}; `image.bits` says how many count"
        )
    return images


def _images_of(found: list[tuple[Path, PaddedPicture]], border: int, padding: Padding, left_out: int) -> GoodImages:
    windows = [(path, picture.size, window) for path, picture in found for window in picture.windows]
    said: dict[int, Path] = {}  # significant bits: the first file that has so many
    for path, picture in found:
        if picture.bits is not None:
            said.setdefault(picture.bits, path)
    return GoodImages(
        paths=[path for path, _, _ in windows],
        padded=[window.padded for _, _, window in windows],
        border=border,
        padding=padding,
        left_out=left_out,
        sizes=[size for _, size, _ in windows],
        tops=[window.top for _, _, window in windows],
        in_windows=any(len(window.padded) < size[0] for _, size, window in windows),
        bits=agreed_bits(said),
    )


def check_alike(first_path: Path, first: NDArray[np.generic], path: Path, image: NDArray[np.generic]) -> None:
    """UsageError, naming both, where two good images differ in channels or dtype."""
    if describe(first) != describe(image):
        raise UsageError(
            f"good images differ: {first_path} is {describe(first)}, {path} is {describe(image)}; "
            "a bundle is trained on one channel count and bit depth"
        )


def agreed_bits(said: dict[int, Path]) -> int | None:
    """The one number of significant bits that files say, None where none does; `said`: bits to a file of so many.

    UsageError, naming both, where two differ.
    """
    if len(said) > 1:
        (a, first), (b, second) = list(said.items())[:2]
        raise UsageError(
            f"good images differ: {first} is of {a} bits, {second} is of {b} bits; "
            "a bundle is trained on one channel count and bit depth"
        )
    return next(iter(said), None)


def measure_normalisation(images: GoodImages) -> Normalisation:
    """Mean and standard deviation over a regular sample of all pictures' pixels, of those that count."""
    samples = []
    for index, padded in enumerate(images.padded):
        y0, x0, y1, x1 = images.picture_box(index)
        step = max(1, int(np.sqrt((y1 - y0) * (x1 - x0) / SAMPLED_PIXELS)))
        sample = padded[y0:y1:step, x0:x1:step].reshape(-1, images.channels)
        if images.counted is not None:
            sample = sample[images.counted.look(index, y0, x0, y1 - y0, x1 - x0)[::step, ::step].ravel() > 0]
        samples.append(sample)
    values = np.concatenate(samples).astype(np.float64)
    std = values.std(axis=0)
    # A constant channel (a blank sheet) keeps its values: one grey level is then one unit.
    return Normalisation(tuple(values.mean(axis=0).tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist()))
