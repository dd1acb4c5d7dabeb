"""A faster model of a bundle: really quantised, really run on OpenVINO, kept where it finds all, refused where not."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from flawmap.export.bundle import read_bundle
from flawmap.export.bundle_writer import write_bundle
from flawmap.export.faster_model import inner_nodes, to_int8, write_faster_model
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.detection_limit.injection import Design
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.optimise_bundle import (
    TOLERANCE,
    LostDetectionsError,
    candidate_folder,
    check_precision,
    keep_if_as_good,
    tiles_as_scored,
)
from flawmap.inspect.precision_comparison import Comparison
from flawmap.inspect.scoring.openvino_session import OpenVinoSession
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.scoring.scorers import as_it_runs
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from tests.bundles import make_bundle, toy_model
from tests.products import draw_good, trained

SIDE = 160
DESIGN = Design(sizes_px=(5, 9), contrasts=(5.0, 9.0), per_image=12, gap_px=40)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("good")
    paths = [folder / f"{i}.png" for i in range(4)]
    for i, path in enumerate(paths):
        write_image(path, draw_good(SIDE, SIDE, seed=50 + i))
    return paths


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, good: list[Path]) -> Path:
    folder = tmp_path_factory.mktemp("sealed") / "ribs"
    write_bundle(trained()[0], folder)
    calibrate_bundle(folder, good, 0.5, device="cpu")
    return folder


@pytest.fixture
def bundle(sealed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sealed, tmp_path / "ribs")


@pytest.fixture
def model(sealed: Path) -> onnx.ModelProto:
    return onnx.load(sealed / "model.onnx")


def inputs() -> Iterator[dict[str, np.ndarray]]:
    for seed in range(4):
        tile = draw_good(96, 96, seed=seed)
        tile[40:49, 40:49] = 255
        yield {"tiles": tile[None]}


def test_8_bits_stay_near_on_openvino_and_on_onnx_runtime(model: onnx.ModelProto, tmp_path: Path) -> None:
    int8 = to_int8(model, list(inputs()))
    path = tmp_path / "int8.onnx"
    onnx.save(int8, path)
    tiles = next(inputs())
    tiles["tiles"] = tiles["tiles"].copy()
    tiles["tiles"][0, 20:24, 70:74] = 0
    expected = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    score = expected.run(["score"], tiles)[0]
    onnx_runtime = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for found in (OpenVinoSession(path, threads=1).run(["score"], tiles)[0], onnx_runtime.run(["score"], tiles)[0]):
        error = float(np.sqrt(np.mean((found - score) ** 2)))
        assert 0 < error < 0.1 * float(score.std())  # another model, and nearly the same one


def test_the_first_and_the_last_convolutions_are_not_quantised(model: onnx.ModelProto) -> None:
    int8 = to_int8(model, list(inputs()))
    chosen = inner_nodes(model.graph)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv" and node.name in chosen]
    learnt = [n.name for n in model.graph.node if any(i.startswith(("unet.", "network.")) for i in n.input)]
    assert convolutions == learnt[1:-1]
    quantised = {name for node in int8.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    for node in int8.graph.node:
        if node.op_type == "Conv":
            assert (node.input[1] in quantised) == (node.name in convolutions), node.name
    weights = [numpy_helper.to_array(t) for t in int8.graph.initializer if t.data_type == onnx.TensorProto.INT8]
    largest = max(int(np.abs(w.astype(int)).max()) for w in weights if w.ndim == 4)
    assert 32 < largest <= 64  # 7 bits: two products fit 16 bits on a processor without VNNI


def test_what_cannot_be_quantised(model: onnx.ModelProto) -> None:
    with pytest.raises(UsageError, match="8 bits need at least one good image"):
        to_int8(model, [])
    with pytest.raises(UsageError, match="the model has no learnt convolutions"):
        to_int8(toy_model(1, "uint8"), list(inputs()))


def test_the_tiles_are_those_of_good_images_and_the_golden_ones(bundle: Path, good: list[Path]) -> None:
    tiles = tiles_as_scored(bundle, good)
    golden = np.load(bundle / "golden" / "tiles.npy")
    assert [set(one) for one in tiles] == [{"tiles"}] * len(tiles)
    np.testing.assert_array_equal(np.concatenate([one["tiles"] for one in tiles[-len(golden) :]]), golden)
    size = read_bundle(bundle).info.tile.size
    assert {one["tiles"].shape for one in tiles[: -len(golden)]} == {(1, size, size)}
    assert len(tiles) >= len(golden) + len(good)
    classical = make_bundle(bundle.parent / "classical")
    info = json.loads((classical.folder / "bundle.json").read_text())
    assert info["faster"] == []


def test_a_model_that_finds_all_is_kept_calibrated_and_run(bundle: Path, good: list[Path], tmp_path: Path) -> None:
    before = read_bundle(bundle)
    with candidate_folder(bundle) as folder:
        write_faster_model(bundle / "model.onnx", folder / "model.onnx", "bf16", [])  # the very same network
        write = keep_if_as_good(bundle, folder / "model.onnx", "openvino", "int8", good, images=2, design=DESIGN)
    assert not list(bundle.glob(".*"))
    read = read_bundle(bundle)
    assert read.info.faster == [write] and read.info.calibration == before.info.calibration
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=bundle, capture_output=True).returncode == 0
    figures = write.comparison
    assert figures["injected"] > 5 and figures["injected_before"] == figures["injected_after"]
    assert set(figures["milliseconds_a_tile"]) == {"cpu", "openvino int8"}
    # What runs, and at which thresholds: its own on openvino and where it is chosen, the bundle's on the CPU.
    assert as_it_runs(read, "cpu").running is None
    assert as_it_runs(read, "openvino").info.calibration == write.calibration
    scorer = TileScorer(as_it_runs(read, "auto"), "auto")
    assert scorer.device == "openvino int8"
    run = inspect_folder([good[0]], bundle, tmp_path / "run")
    assert run.device == "openvino int8" and run.counts["ERROR"] == 0
    assert inspect_folder([good[0]], bundle, tmp_path / "cpu", device="cpu").device == "cpu"
    # A second one for the same device takes its place, and calibrating goes to what runs.
    with candidate_folder(bundle) as folder:
        write_faster_model(bundle / "model.onnx", folder / "model.onnx", "bf16", [])
        keep_if_as_good(bundle, folder / "model.onnx", "openvino", "int8", good[:2], images=1, design=DESIGN)
    assert len(list((bundle / "faster").glob("*/model.onnx"))) == len(read_bundle(bundle).info.faster) == 1
    calibrated = calibrate_bundle(bundle, good[:3], 0.5, device="openvino")
    (faster,) = read_bundle(bundle).info.faster
    assert faster.calibration == calibrated and read_bundle(bundle).info.calibration == before.info.calibration


def deaf(model: onnx.ModelProto) -> onnx.ModelProto:
    """Its score says something else: how dark a pixel is."""
    graph = model.graph
    (cast,) = (node for node in graph.node if "tiles" in node.input)
    (last,) = (node for node in graph.node if "score" in node.output)
    last.output[0] = "unheard"
    graph.initializer.append(numpy_helper.from_array(np.array(-0.01, np.float32), "dark"))
    graph.node.append(onnx.helper.make_node("Mul", [cast.output[0], "dark"], ["score"]))
    return model


def test_a_model_that_loses_defects_is_refused(bundle: Path, good: list[Path]) -> None:
    sealed = (bundle / "SHA256SUMS").read_bytes()
    with candidate_folder(bundle) as folder:
        onnx.save(deaf(onnx.load(bundle / "model.onnx")), folder / "model.onnx")
        with pytest.raises(LostDetectionsError, match=r"`--precision` \(=int8\) loses detections, .*: of \d+ injected"):
            keep_if_as_good(bundle, folder / "model.onnx", "openvino", "int8", good, images=2, design=DESIGN)
    assert (bundle / "SHA256SUMS").read_bytes() == sealed
    assert read_bundle(bundle).info.faster == [] and not list(bundle.glob(".*"))


def test_another_processor_that_answers_otherwise_is_found_out(bundle: Path, good: list[Path]) -> None:
    with candidate_folder(bundle) as folder:
        write_faster_model(bundle / "model.onnx", folder / "model.onnx", "bf16", [])
        kept = keep_if_as_good(bundle, folder / "model.onnx", "openvino", "int8", good, images=1, design=DESIGN)
    read = read_bundle(bundle)
    golden = np.load(bundle / kept.golden_score)
    np.save(bundle / kept.golden_score, golden + np.float32(0.5 * TOLERANCE))
    TileScorer(read.on("openvino"))
    np.save(bundle / kept.golden_score, golden + np.float32(20 * TOLERANCE))
    with pytest.raises(
        UsageError, match=r"its int8 model was made on another kind of processor: run `flawmap optimise`"
    ):
        TileScorer(read.on("openvino"))
    TileScorer(read.on("cpu"), "cpu")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"lost": ["dot"], "gained": 1}, ""),
        ({"lost": ["dot"], "gained": 0, "injected": 9, "injected_before": 5, "injected_after": 4},
         "of 9 injected defects 5 were found before and 4 now; 1 lost, 0 gained: dot"),
        ({"lost": ["dot"], "lost_clearly": ["dot"], "gained": 3, "injected": 9},
         "of 9 injected defects 0 were found before and 0 now; lost though they stood clear: dot"),
        ({"labelled": 8, "labelled_before": 8, "labelled_after": 1, "labelled_lost": list("abcdefg")},
         "of 8 labelled defects 8 were found before and 1 now; lost: a, b, c, d, e and 2 more"),
    ],
)  # fmt: skip
def test_what_speaks_against_a_faster_model(changes: dict[str, object], reason: str) -> None:
    assert Comparison(**changes).why_not() == reason  # type: ignore[arg-type]


def test_precisions_belong_to_devices() -> None:
    assert check_precision("openvino", None) == "int8" and check_precision("cuda", None) == "tf32"
    assert check_precision("openvino", "bf16") == "bf16"
    with pytest.raises(UsageError, match=r"`--precision` \(=fp16\) must be one of int8, int8-bf16, bf16 for"):
        check_precision("openvino", "fp16")
    with pytest.raises(UsageError, match=r"`--device` \(=cpu\) must be one of openvino, cuda, tensorrt"):
        check_precision("cpu", None)


def optimise(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from flawmap.inspect.cli import main; main()"
    command = [sys.executable, "-c", code, "optimise", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_the_command_refuses_what_does_not_go_together(bundle: Path, good: list[Path]) -> None:
    done = optimise(bundle, good[0].parent, "--precision", "fp16")
    assert done.returncode == 2
    assert "`--precision` (=fp16) must be one of int8, int8-bf16, bf16 for `--device` (=openvino)" in done.stderr


@pytest.mark.slow
def test_the_command_keeps_or_refuses(bundle: Path, good: list[Path]) -> None:
    done = optimise(bundle, good[0].parent, "--images", 1)
    faster = read_bundle(bundle).info.faster
    if done.returncode == 0:
        assert [one.precision for one in faster] == ["int8"]
        assert "injected defects found on openvino int8" in done.stdout and "ms a tile" in done.stdout
    else:
        assert done.returncode == 2 and faster == [] and "`--precision` (=int8) loses detections" in done.stderr
    assert not list(bundle.glob(".*"))
