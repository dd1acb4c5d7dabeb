"""Does calibration keep its word? False regions on good images that neither training nor calibration saw.

    python -m benchmarks.promise RUN_DIR [RUN_DIR ...]

A run folder of `flawmap inspect` over images of which those below `good/` are good: one line for each, as
`flawmap evaluate` counts (`flawmap.inspect.evaluation.promise`), without a dataset. Its records hold every region down
to ten expected ones an image, so one run answers for all rates.
"""

import sys
from pathlib import Path

from flawmap.inspect.evaluation.promise import RATES, Promise, measured, raised
from flawmap.inspect.run.layout import RECORDS
from flawmap.inspect.run.record_files import read_record
from flawmap.inspect.run.records import ImageRecord


def main() -> None:
    print("| run | good images | " + " | ".join(f"at {rate:g}" for rate in RATES) + " |")
    print("|---|---|" + "---|" * len(RATES))
    for run in map(Path, sys.argv[1:]):
        records = (read_record(path) for path in sorted((run / RECORDS).glob("*.json")))
        good = [record for record in records if record is not None and is_good(record)]
        severities = [severity for record in good for severity in raised(record)]
        cells = [cell(measured(severities, len(good), rate)) for rate in RATES]
        print(f"| {run.name} | {len(good)} | " + " | ".join(cells) + " |")


def is_good(record: ImageRecord) -> bool:
    return record.verdict != "ERROR" and "good" in Path(record.image).parts[:-1]


def cell(promise: Promise) -> str:
    """The rate counted, its interval of 95 %, and whether the promise lies within a factor of 2 of what was counted."""
    low, high = promise["interval_95"]
    return f"{promise['false_regions_per_good_image']:.3g} ({low:.2g} to {high:.2g}) {promise['word']}"


if __name__ == "__main__":
    main()
