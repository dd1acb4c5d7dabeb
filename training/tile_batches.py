"""Batches of damaged and undamaged tiles, drawn anew for every step.

A batch is a function of the seed, the step and the hard places known when it is drawn: a training that was killed and
resumed sees the batches that an undisturbed one would have seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from flawmap.training.camera import Camera
from flawmap.training.config import TrainConfig
from flawmap.training.damage import damage_tile
from flawmap.training.good_images import GoodImages, Normalisation
from flawmap.training.variation import Variation

SUSPICIOUS_REACH = 16  # px: how far a defect is taken to reach beyond its peak
REGISTRATION_ERROR = 0.15  # px, standard deviation: what training shows it of a reference not quite in place
DISPLACED_SHARE = 0.3  # of the tiles have their reference farther off, as a part of the layout may lie beside its...
DISPLACED_PX = 3  # ...place, so far at most: a part too narrow for `flawmap.tiling.registration.local` to find it
TRIES = 20  # for a tile that shows nothing suspicious; an image may hold nothing else


@dataclass(frozen=True)
class HardPlace:
    """A spot on a good image that the model takes for damage: image index, pixel in the padded image."""

    image: int
    y: int
    x: int


class TileBatch(NamedTuple):
    """Normalised tiles: `damaged` is the input, `good` the target, float32 [N, C, H, W].

    `mask` is float32 [N, 1, H, W] in {0, 1}: 1 where the input is visibly damaged. `context`, of an aligned product, is
    what the reference shows there: [N, H, W, C + 1], raw.
    """

    damaged: Tensor
    good: Tensor
    mask: Tensor
    context: Tensor | None = None


class TileDrawer:
    """Draws single tiles from padded good images."""

    def __init__(self, images: GoodImages, normalisation: Normalisation, camera: Camera, config: TrainConfig) -> None:
        self.images = images
        self.normalisation = normalisation
        self.camera = camera
        self.size = config.tile.train_size
        self.settings = config.damage
        self.displaced = min(DISPLACED_PX, config.alignment_slack)
        self.variation = Variation(config.variation, images.full_scale)
        self.hard_places: list[HardPlace] = []  # the hardest first
        self.left_out: dict[int, NDArray[np.int64]] = {}  # places (y, x), [n, 2], by image
        self.not_sought: dict[int, NDArray[np.int64]] = {}  # likewise

    def leave_out(self, places: Sequence[HardPlace], not_sought: Sequence[HardPlace] = ()) -> None:
        """From now on tiles that show one of `places` are not drawn, if `TRIES` draws find another; nothing else is.

        Those that show one of `not_sought` are not drawn as hard ones.
        """
        self.left_out, self.not_sought = _by_image(places), _by_image(not_sought)

    def batch(self, seed: tuple[int, ...], n_tiles: int) -> TileBatch:
        """`n_tiles` tiles, the same for the same `seed` and hard places."""
        rng = np.random.default_rng(seed)
        self.variation.seed(int(rng.integers(1 << 31)))
        damaged, good, masks, contexts = [], [], [], []
        for _ in range(n_tiles):
            hard = bool(self.hard_places) and rng.random() < self.settings.hard_share
            tile, context = self._tile(rng, hard)
            # Noise goes into input and target alike: the network is not asked to guess it away.
            tile = tile + rng.standard_normal(tile.shape, dtype=np.float32) * np.float32(self.camera.noise / 2)
            untouched = self.settings.hard_untouched_share if hard else self.settings.untouched_share
            if rng.random() < untouched:
                bad, mask = tile, np.zeros(tile.shape[:2], np.bool_)
            else:
                bad, mask = damage_tile(rng, tile, lambda: self._donor(rng), self.camera, self.settings)
            damaged.append(bad)
            good.append(tile)
            masks.append(mask[..., None])
            if context is not None:
                contexts.append(context)
        context_batch = torch.from_numpy(np.stack(contexts)) if contexts else None
        return TileBatch(_stack(damaged), _stack(good), _stack(masks), context_batch)

    def _tile(self, rng: np.random.Generator, hard: bool) -> tuple[NDArray[np.float32], NDArray[np.generic] | None]:
        """(one varied, normalised tile [H, W, C] with nothing suspicious, if that can be had; its context)."""
        index, y, x = self._sound_place(rng, hard)
        context = None
        if self.images.reference is not None:
            context = self.images.context(index, y, x, self.size, self.size, self._reference_shift(rng))
        return self._varied(index, y, x, context)

    def _reference_shift(self, rng: np.random.Generator) -> tuple[float, float]:
        """Px (x, y) by which a tile's reference is shown beside its place; see `alignment_slack` in the settings."""
        if self.displaced and rng.random() < DISPLACED_SHARE:
            x, y = rng.uniform(-self.displaced, self.displaced, 2).tolist()
        else:
            x, y = rng.normal(0, REGISTRATION_ERROR, 2).tolist()
        return x, y

    def _donor(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A tile [H, W, C] of anywhere, to take foreign pieces from."""
        return self._varied(*self._sound_place(rng, hard=False), None)[0]

    def _varied(
        self, index: int, y: int, x: int, context: NDArray[np.generic] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.generic] | None]:
        tile = self.images.padded[index][y : y + self.size, x : x + self.size]
        varied, context = self.variation(tile, context)
        varied = self.normalisation.apply(varied)
        return varied if varied.ndim == 3 else varied[..., None], context

    def _sound_place(self, rng: np.random.Generator, hard: bool) -> tuple[int, int, int]:
        """A place as of `_place` that shows nothing suspicious, if `TRIES` draws find one."""
        for _ in range(TRIES):
            index, y, x = self._place(rng, hard)
            if not self._shows(self.left_out, index, y, x) and not (hard and self._shows(self.not_sought, index, y, x)):
                break
        return index, y, x

    def _place(self, rng: np.random.Generator, hard: bool) -> tuple[int, int, int]:
        """(image index, y and x of the tile's corner in the padded image)."""
        if hard:
            # The square draws the hardest, which come first, most often.
            place = self.hard_places[int(len(self.hard_places) * rng.random() ** 2)]
            index, image = place.image, self.images.padded[place.image]
            low = np.array([place.y, place.x]) - self.size + self.size // 4
            y, x = (int(n) for n in low + rng.integers(0, self.size // 2, 2))
        else:
            index = self.images.draw(rng)
            image = self.images.padded[index]
            y, x = (int(rng.integers(0, n - self.size + 1)) for n in image.shape[:2])
            if rng.random() < self.settings.border_share:
                side = int(rng.integers(4))
                offset = int(rng.integers(0, self.images.border + 1))
                y = (offset, image.shape[0] - self.size - offset, y, y)[side]
                x = (x, x, offset, image.shape[1] - self.size - offset)[side]
            counted = self.images.counted
            if counted is not None and not counted.counts(index, y, x, self.size, self.size):
                y, x = counted.draw(rng, index, self.size, self.size)
        y, x = (int(np.clip(n, 0, room - self.size)) for n, room in zip((y, x), image.shape[:2], strict=True))
        return index, y, x

    def _shows(self, places_of: dict[int, NDArray[np.int64]], index: int, y: int, x: int) -> bool:
        """Whether the tile at (`y`, `x`) of image `index` comes near one of its places."""
        places = places_of.get(index)
        if places is None:
            return False
        offset = places - (y, x)
        near = (offset >= -SUSPICIOUS_REACH) & (offset < self.size + SUSPICIOUS_REACH)
        return bool(near.all(axis=1).any())


class TileBatches(IterableDataset[TileBatch]):
    """Endless batches from `first_step` on, one a training step."""

    def __init__(self, drawer: TileDrawer, seed: int, batch_size: int, first_step: int) -> None:
        self.drawer = drawer
        self.seed = seed
        self.batch_size = batch_size
        self.first_step = first_step

    def __iter__(self) -> Iterator[TileBatch]:
        # In this thread: drawn in another one, beside a step that has both cores, it cost 10 to 30 % of the steps.
        for step in count(self.first_step):
            yield self.drawer.batch((self.seed, step), self.batch_size)


def _by_image(places: Sequence[HardPlace]) -> dict[int, NDArray[np.int64]]:
    by_image: dict[int, list[tuple[int, int]]] = {}
    for place in places:
        by_image.setdefault(place.image, []).append((place.y, place.x))
    return {index: np.array(found) for index, found in by_image.items()}


def _stack(tiles: Sequence[NDArray[np.generic]]) -> Tensor:
    """Tiles [H, W, C] -> contiguous float32 [N, C, H, W]."""
    stacked = np.stack(tiles).astype(np.float32).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(stacked))
