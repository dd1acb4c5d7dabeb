"""Puts a part description into a bundle, and all that it names: the line PC has the bundle and nothing else."""

from pathlib import Path

import cv2
import numpy as np

from flawmap.export.bundle import CONTEXT, WHERE_MAP, Bundle, BundleInfo, WhereInfo, read_bundle, rewrite_bundle
from flawmap.export.part_record import Part
from flawmap.export.tile_size import choose_fitted_tile_size
from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.errors import UsageError
from flawmap.tiling.look_map import LookMap, WhereToLook
from flawmap.tiling.registration.drawn_map import laid_on
from flawmap.tiling.registration.register import Registration


def configure_bundle(folder: Path, part: Part, where: WhereToLook) -> BundleInfo:
    """Puts `part`, and `where` to look as it draws it, into the bundle in `folder`; returns what bundle.json now says.

    Regions of an aligned product that were drawn on a picture move with the part from there onto the reference. Tiles
    get the size that has least work with what counts.

    UsageError: a bundle that is not sound, a map of another size than the reference, a picture that does not show it.
    """
    bundle = read_bundle(folder)
    info = bundle.info.model_copy(update={"part": part})
    whole = bundle.info.where.whole_tile_size if bundle.info.where else bundle.info.tile.size
    if where.look_map is None:
        tile = info.tile.model_copy(update={"size": whole})
        info = info.model_copy(update={"where": None, "tile": tile})
        rewrite_bundle(folder, info, {WHERE_MAP: None})
        return info
    height, width = where.look_map.shape
    look_map = _in_place(bundle, where.look_map.shrunk(info.image.longest_side), where.drawn_on)
    size = whole
    if _takes_any_tile(info):
        size = choose_fitted_tile_size(look_map.pixels, info.tile.overlap, info.network.stride, info.tile.border)
    info = info.model_copy(
        update={
            "where": WhereInfo(height=height, width=width, sha256=look_map.digest, whole_tile_size=whole),
            "tile": info.tile.model_copy(update={"size": size}),
        }
    )
    rewrite_bundle(folder, info, {WHERE_MAP: cv2.imencode(".png", look_map.pixels)[1].tobytes()})
    return info


def _in_place(bundle: Bundle, look_map: LookMap, drawn_on: Path | None) -> LookMap:
    """Of an aligned product the map as it lies on the reference."""
    image = bundle.info.image
    if bundle.info.alignment is None:
        return look_map
    reference = ContextMap(np.load(bundle.folder / CONTEXT, allow_pickle=False))
    if look_map.shape != reference.shape:
        raise UsageError(
            f"`where` was drawn on a picture of {_size(look_map.shape)} px, the reference of `bundle` "
            f"(={bundle.folder}) has {_size(reference.shape)} px"
        )
    if drawn_on is None:
        return look_map
    return laid_on(Registration(reference.image), look_map, drawn_on, image.reading, image.longest_side)


def _takes_any_tile(info: BundleInfo) -> bool:
    """Whether neither the network nor the settings of the training fix the size of tiles."""
    fixed = info.provenance.get("settings", {}).get("tile", {}).get("size")
    return info.network.kind != "autoencoder" and fixed is None


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]}x{shape[0]}"
