"""`python -m flawmap.sample_data --surface metal --out DIR`: writes one product's images."""

import argparse
import sys
from pathlib import Path

from flawmap.sample_data.dataset import SURFACES, write_dataset
from flawmap.tiling.errors import FlawmapError


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="python -m flawmap.sample_data", description=__doc__)
    parser.add_argument("--surface", required=True, help=", ".join(SURFACES))
    parser.add_argument("--out", required=True, type=Path, help="folder to write into")
    parser.add_argument("--size", default=(5120, 5120), type=_size, help="HEIGHTxWIDTH in px (5120x5120)")
    parser.add_argument("--train-good", default=10, type=int, help="good images to train on (10)")
    parser.add_argument("--test-good", default=3, type=int, help="good images to test on (3)")
    parser.add_argument("--test-defect", default=5, type=int, help="defective images to test on (5)")
    parser.add_argument("--seed", default=0, type=int, help="another seed is another product (0)")
    given = vars(parser.parse_args(arguments))
    try:
        write_dataset(given.pop("out"), **given, report=_report)
    except FlawmapError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _size(text: str) -> tuple[int, int]:
    height, width = text.lower().split("x")
    return int(height), int(width)


def _report(done: int, total: int) -> None:
    # One line that counts on a terminal, plain lines elsewhere.
    terminal = sys.stderr.isatty()
    end = "\n" if done == total or not terminal else ""
    print(f"{chr(13) if terminal else ''}image {done} of {total}", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
