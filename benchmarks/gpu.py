"""The whole way on a GPU: what the session does alone, and images a second from uncompressed TIFF to records.

    python -m benchmarks.gpu [--model MODEL.onnx] [--out DIR] [--device cuda|tensorrt|cpu] [--images 40] [--quick]

For images of 5120x5120 px, mono, 8 bits: the session by precision (fp32, fp32 with TF32, fp16), layout, batch and tile
size, with tiles and answers left on the card and copied through page-locked buffers (gpu_session.py); each stage of one
image by itself; and then `inspect` itself on a folder, by lanes, precision and what is written (gpu_folder.py), after
its answers were held against those of the processor. Without `--model` the default network with untrained weights is
exported here (needs torch and onnxscript); a trained one costs the same.
Prints one markdown table and writes gpu.md and gpu.json. What cannot run is a row that says why.
"""

import argparse
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu_folder import WAYS, Way, folder_rows, same_as_on_cpu, with_tf32, write_images
from benchmarks.gpu_session import Bench, Setting, check_half, session_alone, stages, with_copies
from benchmarks.measure import circumstances, write_results
from flawmap.export.bundle import MODEL
from flawmap.export.bundle_seal import seal
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle

PACKAGES = ["numpy", "numba", "opencv-python-headless", "tifffile", "onnx", "onnxruntime", "onnxruntime-gpu", "torch"]
CALIBRATED_ON = 2  # images; what they cost does not depend on it
QUICK_WAYS = (Way(1), Way(2), Way(None, zoom=True, heatmaps=True))


def measure_session(bench: Bench, shapes: list[tuple[int, int]]) -> dict[str, float]:
    """Rows of the session alone for `shapes` (tile size, batch); its best time by precision."""
    check_half(bench)
    alone: dict[Setting, float] = {}
    candidates = [
        Setting(precision, *shapes[0], nhwc) for precision in ("fp32", "tf32", "fp16") for nhwc in (False, True)
    ]
    if not bench.on_gpu:
        candidates = [setting for setting in candidates if not setting.nhwc]

    def try_alone(setting: Setting) -> None:
        with bench.row("session alone, on the card", setting) as add:
            alone[setting] = session_alone(bench, setting)
            add(alone[setting])

    for setting in candidates:
        try_alone(setting)
    for precision in ("fp32", "tf32"):
        best = min((s for s in alone if s.precision == precision), key=lambda setting: alone[setting])
        for shape in shapes[1:]:
            try_alone(Setting(precision, *shape, best.nhwc))
    fastest = sorted(alone, key=lambda setting: alone[setting])[:2]
    for setting in fastest:
        for bound in (False, True):
            what = "session with copies, page-locked and bound" if bound else "session with copies, plain run"
            with bench.row(what, setting) as add:
                add(with_copies(bench, setting, bound=bound))
    with bench.row("stages", fastest[0]):
        stages(bench, fastest[0])
    return {
        precision: min(ms for setting, ms in alone.items() if setting.precision == precision)
        for precision in {setting.precision for setting in alone}
    }


def make_bundle(model: Path | None, size: int, good: list[Path], folder: Path) -> Path:
    """A calibrated bundle of the default network's geometry; of `model` instead of untrained weights where given."""
    from benchmarks.untrained_bundle import write_untrained_bundle

    bundle = folder / "benchmark.bundle"
    write_untrained_bundle(bundle, size)
    if model is not None:
        shutil.copyfile(model, bundle / MODEL)
        seal(bundle)
    calibrate_bundle(bundle, good, 0.5, device="cpu")
    return bundle


def card() -> str:
    """What nvidia-smi says is in the machine."""
    with os.popen("nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null") as pipe:
        return pipe.read().strip() or "no GPU"


def report(bench: Bench, facts: dict[str, Any]) -> str:
    machine, versions = facts["machine"], facts["versions"]
    lines = [
        f"# {bench.size}x{bench.size} px on {bench.device}: {card()}",
        "",
        f"{facts['date']}; {machine['cpu']}, {machine['cores']} cores; "
        + ", ".join(f"{name} {number}" for name, number in versions.items()),
        "",
        "| what | how | ms an image | images a second | |",
        "|---|---|---:|---:|---|",
    ]
    for row in bench.rows:
        figures = "failed | " if row.milliseconds is None else f"{row.milliseconds:.1f} | "
        figures += f"{1e3 / row.milliseconds:.1f}" if row.milliseconds else ""
        lines.append(f"| {row.what} | {row.setting} | {figures} | {row.note} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model.onnx of a bundle for mono images of 8 bits")
    parser.add_argument("--device", default="cuda", help="cuda, tensorrt or cpu")
    parser.add_argument("--images", type=int, default=40, help="images of the folder")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for gpu.md and gpu.json")
    parser.add_argument("--quick", action="store_true", help="1024x1024 px, few settings: to see that it works")
    arguments = parser.parse_args()
    size, seconds, shapes = 5120, 0.7, [(1128, 8), (2664, 4), (5216, 1)]
    if arguments.quick:
        size, seconds, shapes = 1024, 0.1, [(512, 2), (1120, 1)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "images").mkdir()
        paths = write_images(folder / "images", size, arguments.images)
        bundle = make_bundle(arguments.model, size, paths[:CALIBRATED_ON], folder)
        bench = Bench(bundle / MODEL, arguments.device, size, paths, seconds)
        bundles = {"fp32": bundle} | ({"tf32": with_tf32(bundle, folder)} if arguments.device == "cuda" else {})
        facts = circumstances(PACKAGES)
        try:
            same_as_on_cpu(bench, paths, bundles)
            alone = measure_session(bench, shapes)
            folder_rows(bench, folder / "images", bundles, alone, QUICK_WAYS if arguments.quick else WAYS)
        finally:  # what was measured is not lost
            text = report(bench, facts)
            print(text)
            record = {"device": arguments.device, "card": card(), **facts, "rows": [asdict(row) for row in bench.rows]}
            write_results(arguments.out, "gpu", text, record)


if __name__ == "__main__":
    main()
