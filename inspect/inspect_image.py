"""One image of a folder: from what the reader threads decoded to its pictures and its record.

In two steps, so that one image's pictures are drawn while the next one is scored.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flawmap.inspect.inspect_strip import ScoredStrip, read_whole, score_strip
from flawmap.inspect.pipeline import Outcome, Pipeline, Scored
from flawmap.inspect.read_ahead import Decoded, source_of
from flawmap.inspect.report.display import Pixels
from flawmap.inspect.report.pictures import write_heatmap, write_pictures
from flawmap.inspect.run.folder import writing
from flawmap.inspect.run.input_images import InputImage
from flawmap.inspect.run.records import AlignmentRecord, CandidateRecord, ImageRecord, PixelSizeRecord, RegionRecord
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError, InspectionStoppedError

Drawn = tuple[Pixels, Pixels, Pixels]  # image, heatmap and reconstruction


@dataclass(frozen=True)
class ScoredImage:
    """An image between its two steps: what the network said of it, or why it could not be asked."""

    decoded: Decoded
    scored: Scored | None
    error: Exception | None
    strip: ScoredStrip | None = None  # instead of `scored`, of a picture too large to be held as a whole


def score_image(run_dir: Path, decoded: Decoded, pipeline: Pipeline, recycle: Scored | None) -> ScoredImage:
    """Scores what was prepared; `recycle`: an earlier image's scores whose arrays may be written over.

    A picture too large to be held as a whole is read now, and `run_dir` holds its arrays until it was judged. Errors:
    InspectionStoppedError for a full disk.
    """
    try:
        if decoded.strip is not None and not pipeline.needs_whole:
            with writing(run_dir):
                return ScoredImage(decoded, None, None, score_strip(decoded, pipeline, run_dir))
        if decoded.strip is not None:
            read_whole(decoded, pipeline)
        if decoded.prepared is None:
            return ScoredImage(decoded, None, decoded.error)
        return ScoredImage(decoded, pipeline.score(decoded.prepared, recycle=recycle), None)
    except InspectionStoppedError:
        raise
    except Exception as error:  # one image never stops the folder
        return ScoredImage(decoded, None, error)


def judge_image(
    run_dir: Path,
    image: ScoredImage,
    pipeline: Pipeline,
    thresholds: Thresholds,
    *,
    heatmaps: bool,
    zoom: bool = True,
) -> ImageRecord:
    """The record of an image; its pictures are written, the record is not yet.

    Whatever went or goes wrong with this image ends in a record with the verdict ERROR and the reason; only a run
    folder that can no longer be written goes on to the caller, as InspectionStoppedError.
    """
    decoded, error = image.decoded, image.error
    try:
        if image.scored is not None and decoded.image is not None:
            stated = pipeline.info.part.stated_by(decoded.entry.path)
            inspection = pipeline.judge(image.scored, decoded.image, stated)
            pixels: Drawn = decoded.image, inspection.heatmap, inspection.reconstruction
            record = _record(run_dir, decoded, pixels, inspection, thresholds, heatmaps, zoom)
            return record.model_copy(update={"tile_size": image.scored.tile_size})
        if image.strip is not None:
            with image.strip.files as files:
                pixels = files.image, files.heatmap, files.reconstruction
                record = _record(run_dir, decoded, pixels, image.strip.outcome, thresholds, heatmaps, zoom)
                return record.model_copy(update={"bands": image.strip.n_bands, "tile_size": pipeline.info.tile.size})
    except InspectionStoppedError:
        raise
    except Exception as problem:
        error = problem
    reason = error.reason if isinstance(error, ImageError) else f"{type(error).__name__}: {error}"
    return _error_record(decoded, reason, thresholds.calibration.severity_floor)


def _record(
    run_dir: Path,
    decoded: Decoded,
    pixels: Drawn,
    inspection: Outcome,
    thresholds: Thresholds,
    heatmaps: bool,
    zoom: bool,
) -> ImageRecord:
    image, heatmap, reconstruction = pixels
    name = decoded.entry.name
    regions = region_records(inspection)
    start = time.perf_counter()
    with writing(run_dir):
        overlay, pictures = write_pictures(
            run_dir,
            name,
            image,
            heatmap,
            reconstruction,
            regions,
            review=thresholds.review,
            ng=thresholds.ng,
            zoom=zoom,
            look=inspection.look,
        )
        if heatmaps:
            write_heatmap(run_dir, name, heatmap)
    milliseconds = {"decode": decoded.milliseconds, **inspection.milliseconds}
    milliseconds["write"] = milliseconds.get("write", 0.0) + (time.perf_counter() - start) * 1e3
    for region, picture in zip(regions, pictures, strict=True):
        region.picture = picture
    return ImageRecord(
        image=decoded.entry.image,
        verdict=inspection.verdict,
        severity=inspection.severity,
        counted_share=inspection.counted_share,
        width=image.shape[1],
        height=image.shape[0],
        milliseconds=milliseconds,
        inspected=_utc_now(),
        overlay=overlay,
        source=decoded.source,
        alignment=_alignment_record(inspection),
        pixel_size=_pixel_size_record(inspection),
        regions=regions,
        candidates=_candidate_records(inspection, thresholds),
    )


def region_records(inspection: Outcome) -> list[RegionRecord]:
    """The regions of an inspection, numbered from 1, the worst first, what rules dropped last."""
    return [
        RegionRecord(
            region=number,
            x_min=int(region["x0"]),
            y_min=int(region["y0"]),
            x_max=int(region["x1"]),
            y_max=int(region["y1"]),
            centroid_x=float(region["centroid_x"]),
            centroid_y=float(region["centroid_y"]),
            area_px=int(region["area_px"]),
            score_max=float(region["score_max"]),
            score_mean=float(region["score_mean"]),
            severity=float(severity),
            **fields,
        )
        for number, (region, severity, fields) in enumerate(
            zip(inspection.regions, inspection.severities, inspection.found.record_fields(), strict=True), start=1
        )
    ]


def _alignment_record(inspection: Outcome) -> AlignmentRecord | None:
    pose = inspection.pose
    if pose is None:
        return None
    return AlignmentRecord(
        shift_x_px=pose.dx,
        shift_y_px=pose.dy,
        angle_degrees=pose.angle,
        quality=pose.quality,
        displaced_px=pose.displaced,
    )


def _pixel_size_record(inspection: Outcome) -> PixelSizeRecord | None:
    size = inspection.pixel_size
    return None if size is None else PixelSizeRecord(x_um=size.x_um, y_um=size.y_um)


def _candidate_records(inspection: Outcome, thresholds: Thresholds) -> list[CandidateRecord]:
    found, below = inspection.candidates, inspection.below
    return [
        CandidateRecord(
            x_min=int(candidate["x0"]),
            y_min=int(candidate["y0"]),
            x_max=int(candidate["x1"]),
            y_max=int(candidate["y1"]),
            score_max=float(candidate["score_max"]),
            severity=float(severity),
            rule=str(rule),
            rule_verdict=verdict if rule else None,
        )
        for candidate, severity, rule, verdict in zip(
            found, thresholds.severities(found["score_max"]), below.rules, below.verdicts, strict=True
        )
    ]


def _error_record(decoded: Decoded, reason: str, severity: float) -> ImageRecord:
    height, width = decoded.strip or (decoded.image.shape[:2] if decoded.image is not None else (0, 0))
    return ImageRecord(
        image=decoded.entry.image,
        verdict="ERROR",
        severity=severity,
        width=width,
        height=height,
        milliseconds={"decode": decoded.milliseconds},
        inspected=_utc_now(),
        error=" ".join(reason.split()),
        source=decoded.source,
        regions=[],
    )


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def refused(entry: InputImage, reason: str) -> ImageRecord:
    """The record of an image that no model may inspect, and that is therefore not even read."""
    record = _error_record(Decoded(entry, source_of(entry.path), 0.0, None, None), reason, 0.0)
    return record.model_copy(update={"milliseconds": {}})
