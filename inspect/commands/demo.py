"""`flawmap demo`."""

from pathlib import Path
from typing import Annotated

import typer

from flawmap.inspect.commands.bundle import train_bundle
from flawmap.inspect.commands.run import tell

DEMO_MINUTES = 8.0
DEMO_IMAGES = {"train_good": 20, "test_good": 4, "test_defect": 6}
DEMO_FALSE_ALARMS = 0.05  # four good images: at the usual 0.1 one demo in three would show a false alarm, as it should


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything the demo makes.")] = Path(
        "demo"
    ),
    surface: Annotated[str, typer.Option(help="metal, cloth or board.")] = "metal",
    size: Annotated[int, typer.Option(help="Height and width of the images in px.")] = 5120,
    minutes: Annotated[float, typer.Option(help="Let the network learn so long at most.")] = DEMO_MINUTES,
) -> None:
    """Draws a product, learns it, inspects it and reports. The whole way, on generated images."""
    from flawmap.inspect.evaluate_run import evaluate_run
    from flawmap.inspect.evaluation.summary import summary
    from flawmap.inspect.folder import inspect_folder
    from flawmap.inspect.progress import progress
    from flawmap.sample_data.dataset import write_dataset

    data, bundle, run = output / surface, output / f"{surface}.bundle", output / f"{surface}.run"
    with progress("drawing images", sum(DEMO_IMAGES.values())) as step:
        write_dataset(data, surface=surface, size=(size, size), report=lambda done, total: step(""), **DEMO_IMAGES)
    settings = [f"learning.minutes={minutes}", f"product=sample {surface}", f"false_alarms={DEMO_FALSE_ALARMS}"]
    train_bundle(data / "train" / "good", bundle, None, settings, "auto", None)
    tell(inspect_folder([data / "test"], bundle, run, fresh=True, progress=progress), run)
    print(summary(evaluate_run(run, data)))
    print(f"Report: {(run / 'index.html').resolve()}")
