"""The bundle: the folder that training hands to the line. Described, read and rewritten here, without torch.

    model.onnx (or model.npz)  bundle.json  golden/tiles.npy  golden/score.npy  training.csv  training.png
    MODEL_CARD.md  SHA256SUMS; of an aligned product also context.npy  golden/context.npy  reference.png (or .tif);
    where somebody drew where to look also where.png

`SHA256SUMS` covers every other file, in the form that `sha256sum -c SHA256SUMS` reads. Its own digest names the bundle.
"""

import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flawmap.export.bundle_seal import SUMS, check_sums, file_sha256, sealed_files, sums_text
from flawmap.export.calibration_record import Calibration
from flawmap.export.part_record import Part
from flawmap.tiling.errors import UsageError
from flawmap.tiling.padding import Padding
from flawmap.tiling.reading import Bayer, Pages, Reading
from flawmap.tiling.whole_file import write_text, write_whole

SCHEMA_VERSION = 1
MODEL = "model.onnx"
INFO = "bundle.json"
GOLDEN_TILES = "golden/tiles.npy"
GOLDEN_SCORE = "golden/score.npy"
CONTEXT = "context.npy"  # `flawmap.tiling.context_map.ContextMap.pixels` of an aligned product
GOLDEN_CONTEXT = "golden/context.npy"
WHERE_MAP = "where.png"  # `flawmap.tiling.look_map.LookMap.pixels`, where somebody drew where to look
NEEDED = (INFO, GOLDEN_TILES, GOLDEN_SCORE)
CLASSICAL_MODEL = "model.npz"
CLASSICAL_KINDS = ("hog", "median", "template")  # of `NetworkInfo.kind`: numbers in `CLASSICAL_MODEL`, no network


class NetworkInfo(BaseModel):
    """What tiling must know of the network; pixels."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    stride: int = Field(ge=1)  # tile starts and sizes are multiples of it
    receptive_field: int = Field(ge=1)  # the overlap at which a tile's owned part equals the whole image's


class TileInfo(BaseModel):
    """How the line cuts an image, pixels: see `flawmap.tiling.grid.TileGrid`."""

    model_config = ConfigDict(extra="forbid")

    size: int = Field(ge=1)
    overlap: int = Field(ge=0)
    border: int = Field(ge=0)  # pixels added on every side...
    padding: Padding = "reflect"  # ...and what they show, as in training; older bundles do not say it


class ImageInfo(BaseModel):
    """The only kind of image this bundle takes."""

    model_config = ConfigDict(extra="forbid")

    channels: int = Field(ge=1)  # 1 grey, 3 RGB; with `pages` channels as many as pages
    dtype: Literal["uint8", "uint16", "float32"]
    longest_side: int | None = Field(default=None, ge=1)  # px; longer images are shrunk to it before tiles are cut
    pages: Pages = "one"
    bayer: Bayer | None = None
    bits: int | None = Field(default=None, ge=8, le=16)  # significant ones of uint16; None: not known

    @property
    def reading(self) -> Reading:
        """How files are read that this bundle takes."""
        return Reading(self.pages, self.bayer, self.bits, self.channels if self.pages == "channels" else None)

    @property
    def full_scale(self) -> float | None:
        """The largest value of a pixel; None where that is not known."""
        bits = 8 if self.dtype == "uint8" else self.bits
        return None if bits is None else float(2**bits - 1)


class NormalisationInfo(BaseModel):
    """Per channel, in the image's own units; the ONNX graph applies it, it stands here for the reader."""

    model_config = ConfigDict(extra="forbid")

    mean: list[float]
    std: list[float]


class AlignmentInfo(BaseModel):
    """Of a product that lies alike in every picture: images are registered onto `CONTEXT` before they are scored."""

    model_config = ConfigDict(extra="forbid")

    height: int = Field(ge=1)  # px of the reference, and of every image
    width: int = Field(ge=1)
    slack: int = Field(default=0, ge=0)  # px by which parts of the layout may lie beside their place


class WhereInfo(BaseModel):
    """Of a product of which not everything counts, as `WHERE_MAP` shows it."""

    model_config = ConfigDict(extra="forbid")

    height: int = Field(ge=1)  # px of the picture it was drawn on, and of every image
    width: int = Field(ge=1)
    sha256: str  # of the map's pixels
    whole_tile_size: int = Field(ge=1)  # px; `TileInfo.size` if all of an image counted


class FasterModel(BaseModel):
    """The same network in fewer bits, for one device: kept only because it was shown to lose no detection."""

    model_config = ConfigDict(extra="forbid")

    device: Literal["openvino", "cuda", "tensorrt"]
    precision: Literal["bf16", "int8", "int8-bf16", "tf32", "fp16"]
    model: str  # file below the bundle, with forward slashes
    golden_score: str  # what this model makes of the golden tiles
    tolerance: float = Field(gt=0)  # of a golden score, absolute plus relative
    calibration: Calibration  # on what this model gives
    comparison: dict[str, Any]  # with the bundle's own model; see `flawmap.inspect.precision_comparison`


class BundleInfo(BaseModel):
    """bundle.json."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    product: str
    created: str  # ISO 8601 with time zone
    flawmap_version: str
    network: NetworkInfo
    tile: TileInfo
    image: ImageInfo
    normalisation: NormalisationInfo
    alignment: AlignmentInfo | None = None
    where: WhereInfo | None = None
    part: Part = Field(default_factory=Part)
    calibration: Calibration | None = None
    faster: list[FasterModel] = Field(default_factory=list)  # at most one a device
    provenance: dict[str, Any] = Field(default_factory=dict)

    @property
    def counted(self) -> str:
        """Names what counts of an image: equal names, equal pixels. Empty where everything does.

        A calibration is good for the pixels it was made on, and for the zones that have one of their own.
        """
        own = [zone.name for zone in self.part.where.zones if zone.false_alarms is not None]
        if self.where is None and self.part.where.background is None:
            return ""
        parts = (self.where.sha256 if self.where else "", self.part.where.background, own)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def counted_note(self) -> str:
        """A sentence where the bundle was calibrated on other pixels than those that count now, else empty."""
        if self.calibration is None or self.calibration.counted == self.counted:
            return ""
        return (
            "where to look has changed since the bundle was calibrated: false regions are those of the pixels that "
            "counted then; `flawmap calibrate` on good images puts that right"
        )


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are all there and unchanged since it was sealed."""

    folder: Path
    info: BundleInfo
    digest: str  # SHA-256 of SHA256SUMS, 64 hex digits: names the bundle and everything in it
    running: FasterModel | None = None  # what runs instead of the bundle's own model; `info.calibration` is then its

    @property
    def is_classical(self) -> bool:
        """Whether it holds fitted numbers instead of a network."""
        return self.info.network.kind in CLASSICAL_KINDS

    @property
    def model_path(self) -> Path:
        return self.folder / (model_name(self.info) if self.running is None else self.running.model)

    @property
    def golden_score_path(self) -> Path:
        return self.folder / (GOLDEN_SCORE if self.running is None else self.running.golden_score)

    def on(self, device: str) -> "Bundle":
        """The bundle as it runs on `device`: with the faster model that it has for it, if it has one."""
        for faster in self.info.faster:
            if faster.device == device:
                return self.with_model(faster)
        return self

    def with_model(self, faster: FasterModel) -> "Bundle":
        """The bundle as it runs with `faster`."""
        info = self.info.model_copy(update={"calibration": faster.calibration})
        return replace(self, info=info, running=faster)


def read_bundle(folder: Path) -> Bundle:
    """Reads and checks the bundle in `folder`.

    Raises UsageError, naming the file or key: no such folder, not a bundle, a newer schema, a file missing or changed
    since the bundle was sealed, a key of bundle.json that is unknown or wrong.
    """
    folder = Path(folder)
    if not folder.is_dir():
        fault = "is a file" if folder.exists() else "is not there"
        raise UsageError(f"`bundle` (={folder}) {fault}: give the folder that `flawmap train` wrote")
    for name in (INFO, SUMS):
        if not (folder / name).is_file():
            raise UsageError(f"`bundle` (={folder}) is not a flawmap bundle: it has no {name}")
    content = _parse_info(folder)
    _check_schema(folder, content)  # first: a newer flawmap may seal its bundles in another way
    digest, listed = check_sums(folder, NEEDED)
    try:
        info = BundleInfo.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"`{'.'.join(map(str, e['loc']))}`: {e['msg']}" for e in error.errors())
        raise UsageError(f"{folder / INFO} does not describe a bundle: {problems}") from None
    aligned = (CONTEXT, GOLDEN_CONTEXT) if info.alignment else ()
    where = (WHERE_MAP,) if info.where else ()
    for name in (model_name(info), *aligned, *where, *sorted(_faster_files(info))):
        if name not in listed:
            raise UsageError(f"`bundle` (={folder}) is not complete: {SUMS} does not list {name}")
    return Bundle(folder, info, digest)


def model_name(info: BundleInfo) -> str:
    """The file that scores, by the kind of network."""
    return CLASSICAL_MODEL if info.network.kind in CLASSICAL_KINDS else MODEL


def write_info(folder: Path, info: BundleInfo) -> None:
    """Writes bundle.json; `seal` comes after it."""
    write_text(folder / INFO, _info_text(info))


def update_bundle(
    folder: Path,
    *,
    part: Part | None = None,
    calibration: Calibration | None = None,
    faster: list[FasterModel] | None = None,
) -> None:
    """Puts what is given into the bundle in `folder` and seals it again; UsageError for a bundle that is not sound.

    `faster` takes the place of what was there; files that it names no more are removed.
    """
    given = {"part": part, "calibration": calibration, "faster": faster}
    before = read_bundle(folder).info
    info = before.model_copy(update={k: v for k, v in given.items() if v is not None})
    rewrite_bundle(folder, info, dict.fromkeys(_faster_files(before) - _faster_files(info)))


def _faster_files(info: BundleInfo) -> set[str]:
    return {name for faster in info.faster for name in (faster.model, faster.golden_score)}


def rewrite_bundle(folder: Path, info: BundleInfo, files: dict[str, bytes | None]) -> None:
    """Writes `info` and `files` (by name) into the sound bundle in `folder`, in the place of older ones, and seals it.

    A file without content is removed.

    All files are complete on the disk before the first takes its place, so that only a kill between two renames could
    leave a bundle that `read_bundle` refuses.
    """
    written = {name: content for name, content in files.items() if content is not None}
    written[INFO] = _info_text(info).encode()
    sums = {name: file_sha256(folder / name) for name in sealed_files(folder) if name not in files}
    sums |= {name: hashlib.sha256(content).hexdigest() for name, content in written.items()}
    with ExitStack() as stack:
        for name, content in {**written, SUMS: sums_text(sums).encode()}.items():
            stack.enter_context(write_whole(folder / name)).write_bytes(content)
    for name in files.keys() - written.keys():
        (folder / name).unlink(missing_ok=True)


def _parse_info(folder: Path) -> Any:
    """bundle.json as Python values; None where it is not JSON, which the sums and the model then tell."""
    try:
        return json.loads((folder / INFO).read_text(encoding="utf-8"))
    except ValueError:
        return None
    except OSError as error:
        raise UsageError(f"{folder / INFO} cannot be read: {error.strerror or error}") from None


def _check_schema(folder: Path, content: Any) -> None:
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(
            f"`bundle` (={folder}) has schema {version}, this flawmap reads up to {SCHEMA_VERSION}: update flawmap"
        )


def _info_text(info: BundleInfo) -> str:
    return info.model_dump_json(indent=2) + "\n"
