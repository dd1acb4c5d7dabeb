"""Gives a bundle a faster model: calibrated on what it gives, and kept only if it loses no detection.

First `tiles_as_scored`, then whoever can write the model file does so into `candidate_folder`, then `keep_if_as_good`.
"""

import hashlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import (
    GOLDEN_CONTEXT,
    GOLDEN_SCORE,
    GOLDEN_TILES,
    Bundle,
    FasterModel,
    read_bundle,
    update_bundle,
)
from flawmap.export.calibration_record import Calibration
from flawmap.inspect.calibration.calibrate_bundle import measure_calibration
from flawmap.inspect.detection_limit.injection import Design
from flawmap.inspect.evaluation.truth import read_truth
from flawmap.inspect.machine import processor
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.precision_comparison import Comparison, compare_injected, compare_labelled
from flawmap.inspect.progress import ShowProgress, silent
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image
from flawmap.tiling.pages import pictures_of

PRECISIONS = {"openvino": ("int8", "int8-bf16", "bf16"), "cuda": ("tf32", "fp16"), "tensorrt": ("fp16",)}
MODELS = "faster"  # folder of the bundle
TILES = 24  # whose activations are measured
TILE_IMAGES = 6
TOLERANCE = 0.05  # of a golden score: what another processor's rounding moves in few bits, a ninth of a rate
TIMED_TILES = 5


class LostDetectionsError(UsageError):
    """The faster model does not find what the bundle's own finds; the bundle stays as it was."""


def check_precision(device: str, precision: str | None) -> str:
    """`precision`, or the first that `device` has; UsageError for a pair that does not go together."""
    if device not in PRECISIONS:
        raise UsageError(f"`--device` (={device}) must be one of {', '.join(PRECISIONS)}: there a model can be faster")
    if precision is not None and precision not in PRECISIONS[device]:
        raise UsageError(
            f"`--precision` (={precision}) must be one of {', '.join(PRECISIONS[device])} for `--device` (={device})"
        )
    return precision or PRECISIONS[device][0]


def tiles_as_scored(bundle_dir: Path, paths: Sequence[Path]) -> list[dict[str, NDArray[Any]]]:
    """Inputs of the bundle's model, a tile each: at most `TILES` of a few good images, and the golden tiles.

    The golden ones show defects too: activations that only a defect has must not be cut off.
    UsageError: no bundle, or one that holds no network.
    """
    bundle = read_bundle(bundle_dir)
    if bundle.is_classical:
        raise UsageError(f"`bundle` (={bundle_dir}) holds a {bundle.info.network.kind} model: it has no network")
    paths = pictures_of(paths, bundle.info.image.pages)
    recorder = _Recorder(TileScorer(bundle, "cpu"))
    pipeline = Pipeline(bundle, recorder)
    for path in paths[:TILE_IMAGES]:
        recorder.begin_image(TILES // min(len(paths), TILE_IMAGES))
        pipeline.heatmap(read_image(path, bundle.info.image.reading))
    names = {"tiles": GOLDEN_TILES} | ({"context": GOLDEN_CONTEXT} if bundle.info.alignment else {})
    golden = {name: np.load(bundle.folder / file, allow_pickle=False) for name, file in names.items()}
    return recorder.kept + [{k: v[i : i + 1] for k, v in golden.items()} for i in range(len(golden["tiles"]))]


class _Recorder:
    """A scorer that keeps some of the tiles that it is given, drawn from each image alike (Vitter's algorithm R)."""

    def __init__(self, scorer: TileScorer) -> None:
        self._scorer = scorer
        self.device, self.device_note, self.dtype = scorer.device, scorer.device_note, scorer.dtype
        self.batch_shape, self.context_shape = scorer.batch_shape, scorer.context_shape
        self.kept: list[dict[str, NDArray[Any]]] = []
        self._rng = np.random.default_rng(0)
        self._share, self._seen, self._start = 1, 0, 0

    def begin_image(self, share: int) -> None:
        self._share, self._seen, self._start = max(1, share), 0, len(self.kept)

    def score(
        self, tiles: NDArray[Any], context: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        one = {"tiles": tiles[:1].copy()} | ({} if context is None else {"context": context[:1].copy()})
        if self._seen < self._share:
            self.kept.append(one)
        else:
            place = int(self._rng.integers(self._seen + 1))
            if place < self._share:
                self.kept[self._start + place] = one
        self._seen += 1
        return self._scorer.score(tiles, context)


@contextmanager
def candidate_folder(bundle_dir: Path) -> Iterator[Path]:
    """A hidden folder inside the bundle, which is no part of it; removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix=".optimise-", dir=bundle_dir))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep_if_as_good(
    bundle_dir: Path,
    model: Path,
    device: str,
    precision: str,
    paths: Sequence[Path],
    *,
    truth: Path | None = None,
    images: int = 4,
    design: Design | None = None,
    progress: ShowProgress = silent,
) -> FasterModel:
    """Calibrates `model` on the good images `paths`, compares it with the bundle's own, and puts it into the bundle.

    `model` lies in `candidate_folder`. Both models are calibrated on `paths` for the comparison, and injected defects
    are looked for in at most `images` of them.

    Raises:
        LostDetectionsError: a detection is lost; the bundle is as it was.
        UsageError: no bundle, one that is not calibrated, no truth. DeviceError: `device` is not here. ImageError.
    """
    bundle = read_bundle(bundle_dir)
    own = bundle.info.calibration
    if own is None:
        raise UsageError(f"`bundle` (={bundle_dir}) is not calibrated: run `flawmap calibrate` on good images first")
    paths = pictures_of(paths, bundle.info.image.pages)
    labelled = read_truth(truth) if truth is not None else []
    candidate = _candidate(bundle, model, device, precision, own)
    scorers = TileScorer(bundle, "cpu"), TileScorer(bundle.with_model(candidate), "auto")
    np.save(bundle.folder / candidate.golden_score, scorers[1].golden_scores)
    with progress("calibrating both", 2 * len(paths)) as step:
        calibrations = [
            measure_calibration(Pipeline(bundle, scorer), paths, own.false_alarms, step) for scorer in scorers
        ]
    before, after = (
        Pipeline(_calibrated(bundle, calibration), scorer, Thresholds.of(calibration, own.false_alarms))
        for scorer, calibration in zip(scorers, calibrations, strict=True)
    )
    comparison = Comparison()
    chosen = [paths[i * len(paths) // min(images, len(paths))] for i in range(min(images, len(paths)))]
    with progress("comparing", len(chosen) + len(labelled)) as step:
        compare_injected(before, after, chosen, design or Design(), comparison, step)
        compare_labelled(before, after, labelled, comparison, step)
    reason = comparison.why_not()
    if reason:
        raise LostDetectionsError(
            f"`--precision` (={precision}) loses detections, the bundle stays as it was: {reason}"
        )
    figures = comparison.as_json() | {"processor": processor(), "milliseconds_a_tile": _times(scorers)}
    kept = candidate.model_copy(update={"calibration": calibrations[1], "comparison": figures, "tolerance": TOLERANCE})
    return _put(bundle, kept)


def _calibrated(bundle: Bundle, calibration: Calibration) -> Bundle:
    return replace(bundle, info=bundle.info.model_copy(update={"calibration": calibration}))


def _candidate(bundle: Bundle, model: Path, device: str, precision: str, calibration: Calibration) -> FasterModel:
    folder = model.parent.relative_to(bundle.folder)
    shutil.copyfile(bundle.folder / GOLDEN_SCORE, model.parent / "golden_score.npy")
    return FasterModel.model_validate(
        {
            "device": device,
            "precision": precision,
            "model": (folder / model.name).as_posix(),
            "golden_score": (folder / "golden_score.npy").as_posix(),
            "tolerance": 1e6,  # its own golden scores are not known yet
            "calibration": calibration,
            "comparison": {},
        }
    )


def _times(scorers: Sequence[TileScorer]) -> dict[str, float]:
    """Median of a tile with the bundle's own model on ONNX Runtime and with the faster one, in turns."""
    times: list[list[float]] = [[] for _ in scorers]
    for _ in range(TIMED_TILES):
        for scorer, taken in zip(scorers, times, strict=True):
            tiles = np.zeros(scorer.batch_shape, scorer.dtype)
            context = None if scorer.context_shape is None else np.zeros(scorer.context_shape, scorer.dtype)
            start = time.perf_counter()
            scorer.score(tiles, context)
            taken.append((time.perf_counter() - start) * 1e3 / len(tiles))
    return {scorer.device: round(statistics.median(taken), 2) for scorer, taken in zip(scorers, times, strict=True)}


def _put(bundle: Bundle, kept: FasterModel) -> FasterModel:
    """Moves the files of the candidate into the bundle and seals it; another model for the same device goes."""
    files = [bundle.folder / name for name in (kept.model, kept.golden_score)]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    # A name of its own: until the bundle is sealed again, everything in it is what the old seal says.
    target = bundle.folder / MODELS / f"{kept.device}-{kept.precision}-{digest}"
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        file.replace(target / file.name)
    model, golden_score = ((target / file.name).relative_to(bundle.folder).as_posix() for file in files)
    result = kept.model_copy(update={"model": model, "golden_score": golden_score})
    others = [faster for faster in bundle.info.faster if faster.device != kept.device]
    update_bundle(bundle.folder, faster=[*others, result])
    return result
