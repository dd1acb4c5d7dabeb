"""What a run writes down: one record an image, its regions, and the run as a whole.

`regions/<name>.json` holds one `ImageRecord`; `images.csv` and `regions.csv` are drawn from these records and nothing
else, so an interrupted run that is started again ends with the same tables. Boxes are half-open, in px of the image.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flawmap.export.part_record import PixelSizeSetting
from flawmap.export.rules_record import Rules

Verdict = Literal["OK", "REVIEW", "NG", "ERROR"]


class RegionRecord(BaseModel):
    """One region: where the heatmap rose above what good images show."""

    model_config = ConfigDict(extra="forbid")

    region: int  # 1 is the most severe of its image
    x_min: int
    y_min: int
    x_max: int
    y_max: int
    centroid_x: float
    centroid_y: float
    area_px: int
    score_max: float
    score_mean: float
    severity: float  # -log10(expected false regions an image at this score): 2 is seen once in a hundred good images
    verdict: Verdict
    picture: str | None = None  # crop, heat and reconstruction side by side, relative to the run folder
    # Measured on the visible pixels, as docs/rules.md says; None where it is not known.
    area_visible_px: int | None = None
    length_px: float | None = None
    width_px: float | None = None
    elongation: float | None = None
    contrast: float | None = None  # levels of the image; below 0 it is darker than the reconstruction
    area_mm2: float | None = None
    length_mm: float | None = None
    width_mm: float | None = None
    fragments: int = 1  # so many were joined
    defect_class: str = ""
    rule: str = ""  # that decided the verdict; empty: severity did
    zone: str = ""  # of the part description, that its peak lies in

    @property
    def dropped(self) -> bool:
        """Whether a rule made it OK: it is shown, and counts for nothing."""
        return self.verdict == "OK"


class CandidateRecord(BaseModel):
    """A region too low for REVIEW: not for the operator; `flawmap evaluate` asks what a lower threshold would find."""

    model_config = ConfigDict(extra="forbid")

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    score_max: float
    severity: float
    rule: str = ""  # that would decide if it were a region...
    rule_verdict: Verdict | None = None  # ...and how


class SourceFile(BaseModel):
    """Tells whether an image is still the one that was inspected."""

    model_config = ConfigDict(extra="forbid")

    size_bytes: int
    modified_ns: int


class PixelSizeRecord(BaseModel):
    """What a pixel covers on the part."""

    model_config = ConfigDict(extra="forbid")

    x_um: float
    y_um: float


class AlignmentRecord(BaseModel):
    """Where an aligned product lies in an image, beside where it lies in the reference, at the picture's centre."""

    model_config = ConfigDict(extra="forbid")

    shift_x_px: float  # to the right
    shift_y_px: float  # down
    angle_degrees: float  # counter-clockwise
    quality: float  # 0..1, likeness of image and reference
    displaced_px: float = 0.0  # how far some part of the layout lies beside that at most: a sheet that is stretched


class ImageRecord(BaseModel):
    """One image: its verdict, its regions and how long each stage took."""

    model_config = ConfigDict(extra="forbid")

    image: str  # path relative to the folder given, with forward slashes
    verdict: Verdict
    severity: float  # of the highest score that counts: a region's, or how near an OK image came to one
    width: int
    height: int
    counted_share: float = 1.0  # of its pixels, that were to be looked at
    milliseconds: dict[str, float]  # by stage
    inspected: str = ""  # when this was decided, ISO 8601, UTC
    error: str = ""
    overlay: str | None = None  # the whole picture with its regions, relative to the run folder
    source: SourceFile
    tile_size: int | None = None  # px, of the tiles that it was scored in
    bands: int | None = None  # rows of a picture too large to be held as a whole, inspected in so many bands
    alignment: AlignmentRecord | None = None
    pixel_size: PixelSizeRecord | None = None  # where it is known
    regions: list[RegionRecord]  # the worst first; what rules dropped, last
    candidates: list[CandidateRecord] = []  # the highest first, at most `defects.CANDIDATES_MAX`
    # Of a run with a recipe; empty where the image's name does not tell.
    part: str = ""
    camera: str = ""
    model: int | None = None  # place in `RunInfo.recipe.models` of the one that inspected it

    @property
    def n_regions(self) -> int:
        """Those that count."""
        return sum(not region.dropped for region in self.regions)


class ModelInfo(BaseModel):
    """One bundle of a recipe, as it ran; fields as in `RunInfo`."""

    model_config = ConfigDict(extra="forbid")

    camera: str  # whose images it inspects; `*` stands for anything
    bundle: str
    bundle_sha256: str
    product: str
    device: str
    device_note: str = ""
    calibration_note: str = ""
    images: dict[str, Any] = {}
    false_alarms: float  # expected false regions on a good image that NG may cost
    thresholds: dict[str, float]
    zone_false_alarms: dict[str, float] = {}  # of the zones with a rate of their own, which comes on top of the other
    pixel_size: PixelSizeSetting | None = None  # as in the part description, and so the rules
    rules: Rules = Field(default_factory=Rules)


class RecipeInfo(BaseModel):
    """What a run with a recipe adds to run.json."""

    model_config = ConfigDict(extra="forbid")

    models: list[ModelInfo]
    expected: list[str]  # cameras that every part needs an image of
    ignored: int  # images that the recipe left out
    unfinished: list[str] = []  # parts with images that were not inspected when this was written
    parts: dict[str, int]  # by verdict, and `parts`; `images_without_part`, which none of them counts


class RunInfo(BaseModel):
    """run.json: enough to say later what was run, on what, and how."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["running", "finished", "interrupted"]
    started: str  # ISO 8601 with time zone
    finished: str | None = None
    versions: dict[str, str]
    bundle: str  # of a run with a recipe: the recipe
    bundle_sha256: str  # of a run with a recipe: over those of its bundles
    product: str
    device: str  # really used
    device_note: str = ""  # why `auto` did not take a faster one
    calibration_note: str = ""  # said where too few good images vouch for the false-alarm rate
    images: dict[str, Any] = {}  # how files were read: the fields of `flawmap.tiling.reading.Reading`; none by a recipe
    settings: dict[str, Any]
    thresholds: dict[str, float]  # grow, candidate, review, ng: scores; severity_review, severity_ng; none by a recipe
    zone_false_alarms: dict[str, float] = {}  # of the zones with a rate of their own; none by a recipe
    counts: dict[str, int]  # by verdict, and `images`, `regions`, `dropped` by rules
    milliseconds_median: dict[str, float]  # by stage, over the inspected images
    tile_sizes: dict[str, int] = {}  # px -> images that were scored in tiles of that size
    peak_memory_mib: float | None = None
    pixel_size: PixelSizeSetting | None = None  # as in the part description, and so the rules; by model in a recipe
    rules: Rules = Field(default_factory=Rules)
    recipe: RecipeInfo | None = None

    def of_model(self, number: int) -> "RunInfo":
        """The run as if the recipe's model at this place had been its only one."""
        assert self.recipe is not None
        model = self.recipe.models[number]
        alone = model.model_dump(exclude={"camera", "false_alarms"})
        alone |= {"pixel_size": model.pixel_size, "rules": model.rules}
        alone["product"] = f"{model.product}, camera {model.camera}"
        settings = self.settings | {"false_alarms": model.false_alarms}
        return self.model_copy(update={**alone, "settings": settings, "recipe": None})
