"""Every figure of docs/performance.md in one run and one report: what `make bench` runs.

    python -m benchmarks [--quick] [--bundle BUNDLE] [--device cpu] [--out benchmarks/results]

Takes about half an hour on a quiet machine; with `--quick` minutes, and figures that only show that it runs.
"""

import argparse
from pathlib import Path

from benchmarks import kernels, pipeline
from benchmarks.measure import write_results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small images, few rounds: does it run at all?")
    parser.add_argument("--bundle", type=Path, help="a calibrated bundle for mono images of 8 bits")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, openvino or tensorrt")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results"), help="folder for report.md, report.json"
    )
    arguments = parser.parse_args()
    # The pipeline first: the kernels' 20480x20480 px leave the memory in pieces.
    pipeline_text, pipeline_record, _ = pipeline.run(
        quick=arguments.quick, bundle=arguments.bundle, device=arguments.device
    )
    print(pipeline_text, flush=True)
    kernels_text, kernels_record, _ = kernels.run(quick=arguments.quick)
    print(kernels_text)
    record = {"pipeline": pipeline_record, "kernels": kernels_record}
    write_results(arguments.out, "report", f"{pipeline_text}\n{kernels_text}", record)
    print(arguments.out / "report.md")


if __name__ == "__main__":
    main()
