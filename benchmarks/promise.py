"""Does calibration keep its word? False regions on good images that neither training nor calibration saw.

    python -m benchmarks.promise RUN_DIR [RUN_DIR ...]

A run folder of `flawmap inspect` over images of which those below `good/` are good. Its records hold every region down
to ten expected ones an image, so one run answers for all rates. Intervals are exact for a Poisson count (Garwood 1936).
"""

import sys
from pathlib import Path

from scipy.stats import chi2

from flawmap.inspect.run.layout import RECORDS
from flawmap.inspect.run.record_files import read_record
from flawmap.inspect.run.records import ImageRecord

RATES = (1.0, 0.5, 0.1)  # false regions promised a good image


def main() -> None:
    print("| run | good images | " + " | ".join(f"at {rate:g}" for rate in RATES) + " |")
    print("|---|---|" + "---|" * len(RATES))
    for run in map(Path, sys.argv[1:]):
        records = (read_record(path) for path in sorted((run / RECORDS).glob("*.json")))
        good = [record for record in records if record is not None and is_good(record)]
        cells = [measured(good, rate) for rate in RATES]
        print(f"| {run.name} | {len(good)} | " + " | ".join(cells) + " |")


def is_good(record: ImageRecord) -> bool:
    return record.verdict != "ERROR" and "good" in Path(record.image).parts[:-1]


def measured(good: list[ImageRecord], rate: float) -> str:
    """The rate counted, its interval of 95 %, and whether the promise lies within a factor of 2 of what was counted."""
    severities = [found.severity for record in good for found in (*record.regions, *record.candidates)]
    count = sum(10**-severity <= rate for severity in severities)
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    high = chi2.ppf(0.975, 2 * count + 2) / 2
    if high < rate / 2 * len(good) or low > rate * 2 * len(good):
        word = "broken"
    elif rate / 2 * len(good) <= count <= rate * 2 * len(good):
        word = "kept"
    else:
        word = "too few images to say"
    return f"{count / len(good):.3g} ({low / len(good):.2g} to {high / len(good):.2g}) {word}"


if __name__ == "__main__":
    main()
