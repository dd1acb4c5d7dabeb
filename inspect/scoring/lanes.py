"""Sessions of one model side by side: while one image is on its way over the bus, the next one is computed.

lane 1   | cut n | score n | stitch n | cut n+2 | ...
lane 2           | cut n+1 | score n+1 | stitch n+1 | ...

On a processor one image keeps every core busy, and there is one lane.
"""

from collections.abc import Callable, Sequence
from queue import SimpleQueue

from flawmap.export.bundle import Bundle
from flawmap.inspect.scoring.cuda_runtime import free_memory
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.scoring.scorers import Scorer, open_scorer
from flawmap.inspect.scoring.tile_loop import TiledImage, TileLoop, out_of_memory
from flawmap.inspect.scoring.tile_room import CardFullError, TileRoom
from flawmap.tiling.errors import DeviceError, ImageError, UsageError

CARD_LANES = 2  # a third took a tenth less time on an H200, and as much memory as each of the others
SHARE = 0.8  # of the card's free memory is counted on; the rest is for whoever else draws on it
SECOND_LANE_PIXELS = 2048**2  # that half the memory must have room for, or all of it goes to one lane
LANES_MAX = 8


class Lanes:
    """Scorers of one model, each used for one image at a time. Any number of threads may ask for one."""

    def __init__(self, scorers: Sequence[Scorer], room: TileRoom | None = None) -> None:
        """`room`: on a GPU, what one lane may score at once; without one, tiles are those of the bundle."""
        self.count = len(scorers)
        self.device = scorers[0].device  # really used
        self.room = room
        self._device_note = scorers[0].device_note
        self._free: SimpleQueue[TileLoop] = SimpleQueue()
        for scorer in scorers:
            self._free.put(TileLoop(scorer, room))

    @property
    def device_note(self) -> str:
        """Why `auto` left a GPU out, and what its memory did not allow; empty for nothing."""
        return "; ".join(filter(None, (self._device_note, self.room.note if self.room else "")))

    def run(self, tiled: Callable[[], TiledImage]) -> TiledImage:
        """Scores what `tiled` makes in the lane that is free first, and returns it.

        Where a GPU has no memory for its tiles, `tiled` is asked again: the room has become smaller. ValueError for a
        score that is not finite, ImageError where there is no memory for the smallest tiles.
        """
        lane = self._free.get()
        failed = set()
        try:
            while True:
                image = tiled()
                try:
                    lane.run(image)
                    return image
                except CardFullError as full:
                    if str(full) in failed:
                        raise ImageError("image", str(full)) from None
                    failed.add(str(full))
        finally:
            self._free.put(lane)


def open_lanes(
    bundle: Bundle,
    device: str,
    lanes: int | None = None,
    *,
    fitted: bool = True,
    most_pixels: int | None = None,
    models: int = 1,
) -> Lanes:
    """Lanes of `bundle`, `as_it_runs` on `device`: `lanes`, or two on a GPU with memory for it and one elsewhere.

    `fitted`: on a GPU, tiles as large as its memory allows instead of the bundle's. `most_pixels`: that one lane may
    score at once, measured on the card unless given; given for a processor, tiles are fitted there too. `models`: so
    many share the card.

    DeviceError or UsageError where it cannot be had.
    """
    if lanes is not None and not 1 <= lanes <= LANES_MAX:
        raise UsageError(f"`--lanes` (={lanes}) must be 1 to {LANES_MAX}")
    first = open_scorer(bundle, device, any_shape=most_pixels is not None)
    on_card = isinstance(first, TileScorer) and first.on_gpu
    if not isinstance(first, TileScorer) or not (on_card or most_pixels):
        return Lanes([first, *(open_scorer(bundle, device) for _ in range(1, lanes or 1))])
    if most_pixels is None:
        free, a_pixel = free_memory(), _bytes_a_pixel(first)
        all_pixels = (
            first.batch_size * bundle.info.tile.size**2 if free is None else int(SHARE * free / a_pixel / models)
        )
        if lanes is None:
            lanes = CARD_LANES if free is not None and all_pixels >= CARD_LANES * SECOND_LANE_PIXELS else 1
        most_pixels = all_pixels // lanes
    others = [open_scorer(bundle, device, any_shape=True) for _ in range(1, lanes or 1)]
    return Lanes([first, *others], TileRoom(bundle.info, most_pixels, batch=first.fixed_batch, fitted=fitted))


def _bytes_a_pixel(scorer: TileScorer) -> float:
    try:
        return scorer.bytes_a_pixel()
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise DeviceError(
            f"`--device` (={scorer.device}) has no memory left for a single tile: another program uses the card, or "
            "inspect with `--device cpu`"
        ) from error
