"""Options that several commands have, worded once."""

from pathlib import Path
from typing import Annotated

import typer

BundleOption = Annotated[
    Path, typer.Option("--model", "-m", help="Bundle that `flawmap train` wrote, or a recipe (YAML) of several.")
]
BundleOutput = Annotated[Path, typer.Option("--output", "-o", help="Bundle folder to write.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, openvino or tensorrt.")]
FalseAlarms = Annotated[
    float | None, typer.Option(help="False regions a good image may show on average; the bundle's own unless given.")
]
PartOption = Annotated[Path | None, typer.Option(help="YAML file: where to look, pixel size, rules of the plant.")]
Quantile = Annotated[
    float | None, typer.Option(help="Instead of --false-alarms: share of good images that show none, such as 0.95.")
]
