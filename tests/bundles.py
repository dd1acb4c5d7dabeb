"""A small real bundle, made without torch: the network is a 5x5 mean and the score how far a pixel is from it.

    score = |x - mean5x5(x)| / std        reconstruction = mean5x5(x), in the image's dtype

Receptive field 5 px, zero padding at the tile's edge (which must never reach the heatmap), any N, H, W.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from flawmap.export.bundle import (
    GOLDEN_SCORE,
    GOLDEN_TILES,
    MODEL,
    Bundle,
    BundleInfo,
    ImageInfo,
    NetworkInfo,
    NormalisationInfo,
    TileInfo,
    read_bundle,
    write_info,
)
from flawmap.export.bundle_seal import seal
from flawmap.export.calibration_record import Calibration, ParetoTail
from flawmap.export.part_record import Part
from flawmap.inspect.defects import DefectScan
from flawmap.inspect.rules.judge import Judge
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.images import write_image

RECEPTIVE_FIELD = 5
NOTHING_SAID = Part()
DTYPES = {"uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "float32": TensorProto.FLOAT}
STD = {"uint8": 10.0, "uint16": 2570.0, "float32": 0.04}  # noise of `good_image`, about
MEAN = {"uint8": 128.0, "uint16": 32896.0, "float32": 0.5}


def calibration(*, grow: float = 4.0, threshold: float = 6.0) -> Calibration:
    """Severity 0 at a score of about 6, rising slowly; regions begin at 4."""
    tail = ParetoTail(threshold=threshold, rate=1.0, shape=0.1, scale=1.0)
    peaks = np.linspace(grow, threshold, 10, endpoint=False).tolist()
    return Calibration(
        grow=grow, n_images=10, n_regions=20, megapixels_per_image=1.0, peaks=peaks, tail=tail, false_alarms=0.1
    )


def good_image(
    height: int, width: int, *, channels: int = 1, dtype: str = "uint8", seed: int = 0, defects: int = 0
) -> NDArray:
    """A grey surface with sensor noise, and `defects` bright 5x5 px dots; [H, W] or [H, W, C]."""
    rng = np.random.default_rng(seed)
    shape = (height, width) if channels == 1 else (height, width, channels)
    level = rng.standard_normal(shape, np.float32) * 0.4 * STD[dtype] + MEAN[dtype]
    for _ in range(defects):
        y, x = rng.integers(0, max(1, height - 5)), rng.integers(0, max(1, width - 5))
        level[y : y + 2, x : x + 2] += 10.5 * STD[dtype]
    top = 1.0 if dtype == "float32" else float(np.iinfo(dtype).max)
    return np.clip(level, 0, top).astype(dtype)


def write_parts(folder: Path, *, height: int = 120, width: int = 160) -> None:
    """Three images into `folder`: part0.png is good, part1.png has a dot, part2.png two."""
    folder.mkdir(exist_ok=True)
    for number in range(3):
        write_image(folder / f"part{number}.png", good_image(height, width, seed=number, defects=number))


def find_defects(heatmap: NDArray, thresholds: Thresholds) -> tuple[NDArray, NDArray]:
    """Regions and candidates of a heatmap (float32 [H, W]), by severity alone; REGION_DTYPE each."""
    scan = DefectScan(heatmap.shape[1], thresholds)
    scan.add(heatmap)
    return judged(scan, thresholds)


def judged(scan: DefectScan, thresholds: Thresholds) -> tuple[NDArray, NDArray]:
    found = Judge(Part(), thresholds).judge(scan.result(), None)
    return found.regions.regions, found.candidates.regions


def toy_model(channels: int, dtype: str, *, batch: int | str = "n") -> onnx.ModelProto:
    """The network described at the top, as an ONNX graph."""
    shape = [batch, "h", "w"] + ([channels] if channels > 1 else [])
    kernel = np.full((channels, 1, 5, 5), 1 / 25, np.float32)
    constants = {
        "kernel": kernel,
        "mean": np.array(MEAN[dtype], np.float32),
        "std": np.array(STD[dtype], np.float32),
        "axis": np.array([1], np.int64),
        "half": np.array(0.5 if dtype != "float32" else 0.0, np.float32),
    }
    node = helper.make_node
    nodes = [node("Cast", ["tiles"], ["raw"], to=TensorProto.FLOAT), node("Sub", ["raw", "mean"], ["centred"])]
    if channels == 1:
        nodes += [node("Unsqueeze", ["centred", "axis"], ["planes"])]
    else:
        nodes += [node("Transpose", ["centred"], ["planes"], perm=[0, 3, 1, 2])]
    nodes += [
        node("Conv", ["planes", "kernel"], ["blurred"], pads=[2, 2, 2, 2], group=channels),
        node("Sub", ["planes", "blurred"], ["residual"]),
        node("Abs", ["residual"], ["distance"]),
        node("ReduceMax", ["distance", "axis"], ["largest"], keepdims=0),
        node("Div", ["largest", "std"], ["score"]),
    ]
    if channels == 1:
        nodes += [node("Squeeze", ["blurred", "axis"], ["back"])]
    else:
        nodes += [node("Transpose", ["blurred"], ["back"], perm=[0, 2, 3, 1])]
    nodes += [
        node("Add", ["back", "mean"], ["level"]),
        node("Add", ["level", "half"], ["rounded"]),
        node("Cast", ["rounded"], ["reconstruction"], to=DTYPES[dtype]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("tiles", DTYPES[dtype], shape)],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, shape[:3]),
            helper.make_tensor_value_info("reconstruction", DTYPES[dtype], shape),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def toy_score(tiles: NDArray, dtype: str) -> NDArray[np.float32]:
    """The same score by numpy, zero padding (around the mean) included; [n, t, t] or [n, t, t, 3] -> [n, t, t]."""
    planes = tiles.astype(np.float64) - MEAN[dtype]
    if planes.ndim == 3:
        planes = planes[..., None]
    padded = np.pad(planes, ((0, 0), (2, 2), (2, 2), (0, 0)))
    blurred = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2)).mean(axis=(-2, -1))
    return (np.abs(planes - blurred).max(axis=-1) / STD[dtype]).astype(np.float32)


def make_bundle(
    folder: Path,
    *,
    channels: int = 1,
    dtype: str = "uint8",
    tile_size: int = 64,
    overlap: int = 16,
    border: int = 8,
    stride: int = 4,
    batch: int | str = "n",
    calibrated: bool = True,
    part: Part = NOTHING_SAID,
    **image: Any,
) -> Bundle:
    """Writes a sealed bundle of the toy network into `folder` (made here) and reads it back; `image`: `ImageInfo`'s."""
    (folder / "golden").mkdir(parents=True)
    (folder / MODEL).write_bytes(toy_model(channels, dtype, batch=batch).SerializeToString())
    golden = np.stack([good_image(32, 32, channels=channels, dtype=dtype, seed=s, defects=1) for s in (1, 2, 3)])
    np.save(folder / GOLDEN_TILES, golden)
    np.save(folder / GOLDEN_SCORE, toy_score(golden, dtype))
    (folder / "training.csv").write_text("step,loss\n1,0.5\n")
    (folder / "MODEL_CARD.md").write_text("# toy\n")
    info = BundleInfo(
        product="toy",
        created="2026-01-01T00:00:00+00:00",
        flawmap_version="0.1.0",
        network=NetworkInfo(kind="mean5x5", stride=stride, receptive_field=RECEPTIVE_FIELD),
        tile=TileInfo(size=tile_size, overlap=overlap, border=border),
        image=ImageInfo.model_validate({"channels": channels, "dtype": dtype, **image}),
        normalisation=NormalisationInfo(mean=[MEAN[dtype]] * channels, std=[STD[dtype]] * channels),
        part=part,
        calibration=calibration() if calibrated else None,
    )
    write_info(folder, info)
    seal(folder)
    return read_bundle(folder)
