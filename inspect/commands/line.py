"""The commands of the running line: `flawmap watch` and `flawmap drift`."""

from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated

import typer

from flawmap.inspect.commands.damaged_records import end_with_damaged
from flawmap.inspect.commands.options import Device, FalseAlarms
from flawmap.inspect.console import printable, say

if TYPE_CHECKING:
    from flawmap.inspect.line.part_result import PartResult
    from flawmap.inspect.run.records import RunInfo


def watch(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder into which the cameras write, and those below it.")
    ],
    model: Annotated[Path, typer.Option("--model", "-m", help="Bundle, or a recipe (YAML) of several.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; a watcher goes on there.")],
    device: Device = "auto",
    false_alarms: FalseAlarms = None,
    quantile: Annotated[
        float | None, typer.Option(help="Instead of --false-alarms: share of good images that show none.")
    ] = None,
    takt: Annotated[float | None, typer.Option(help="Seconds a result may take once its picture is complete.")] = None,
    settle: Annotated[float, typer.Option(help="Seconds a picture must not change to count as complete.")] = 0.5,
    give_up: Annotated[float, typer.Option(help="Seconds until one that cannot be read counts as broken.")] = 10.0,
    done_marker: Annotated[
        bool, typer.Option("--done-marker", help="Take a picture only when PICTURE.done lies beside it.")
    ] = False,
    poll: Annotated[float, typer.Option(help="Seconds from look to look, beside the system's events.")] = 1.0,
    part_timeout: Annotated[float, typer.Option(help="Seconds a part waits for its next picture.")] = 60.0,
    mqtt: Annotated[str | None, typer.Option(help="Publish results: mqtt://[user@]host[:port]/topic.")] = None,
    heatmaps: Annotated[bool, typer.Option("--heatmaps", help="Write every heatmap as TIFF.")] = False,
    zoom: Annotated[bool, typer.Option("--zoom", help="Write pictures at full size for the report.")] = False,
    workers: Annotated[int, typer.Option(help="Pictures read ahead in parallel.")] = 1,
    drift_last: Annotated[int, typer.Option(help="Good images compared with the calibration's, to see a drift.")] = 100,
) -> None:
    """Inspects pictures as cameras drop them, until it is stopped. Every part gets a result file."""
    from flawmap.export.calibration_record import false_alarms_of
    from flawmap.inspect.line.arrivals import Patience
    from flawmap.inspect.line.stop import Stop, stopped_by_signals
    from flawmap.inspect.watch.folder import watch_folder
    from flawmap.inspect.watch.loop import WatchSettings

    settings = WatchSettings(
        patience=Patience(settle, give_up, done_marker),
        poll=poll,
        part_timeout=part_timeout,
        takt=takt,
        workers=workers,
        heatmaps=heatmaps,
        zoom=zoom,
        mqtt=mqtt,
        drift_last=drift_last,
    )
    bell: SimpleQueue[str] = SimpleQueue()
    stop = Stop(bell)
    with stopped_by_signals(stop):
        run = watch_folder(
            folder,
            model,
            output,
            stop,
            bell,
            device=device,
            false_alarms=false_alarms_of(false_alarms, quantile),
            settings=settings,
            say=_note,
            tell=_tell,
        )
    _tell_end(run, output)


def drift(
    run_dir: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="Folder that `flawmap inspect` or `flawmap watch` wrote.")
    ],
    last: Annotated[int, typer.Option(help="Good images compared with those of the calibration.")] = 100,
    model: Annotated[Path | None, typer.Option("--model", "-m", help="The run's bundle, where it was moved.")] = None,
    fail_on_drift: Annotated[bool, typer.Option("--fail-on-drift", help="End with 1 if there is an alarm.")] = False,
) -> None:
    """Tells whether good images score as they used to. They are compared with those of the calibration."""
    from flawmap.inspect.drift_run import measure_drift
    from flawmap.inspect.run.layout import DRIFT

    found = measure_drift(run_dir, last, model)
    for one in found.models:
        print(one.sentence)
        if one.state.n_images < last:
            print(f"  only {one.state.n_images} good images so far: an alarm needs {last} (`--last`)")
        if one.first_alarm:
            print(f"  first alarm at {one.first_alarm}")
        print(run_dir / one.picture)
    for note in found.not_measured:
        say(f"note: {note}")
    print(run_dir / DRIFT)
    end_with_damaged(found.damaged)
    if fail_on_drift and any(one.state.alarm for one in found.models):
        raise typer.Exit(1)


def _note(text: str) -> None:
    say(f"{_now()} note: {printable(text)}")


def _tell(result: "PartResult") -> None:
    from flawmap.inspect.shown_severity import shown_severity

    (content,) = result.result_content
    rest = (
        f": {content.error}"
        if content.error or content.severity is None
        else f", severity {shown_severity(content.severity)}"
    )
    print(f"{_now()} {printable(f'{result.part_id.id}: {content.verdict}{rest}')}", flush=True)


def _tell_end(run: "RunInfo", output: Path) -> None:
    counts = ", ".join(f"{run.counts[verdict]} {verdict}" for verdict in ("OK", "REVIEW", "NG", "ERROR"))
    print(f"stopped; {run.counts['images']} images in {output}: {counts}", flush=True)


def _now() -> str:
    return datetime.now().isoformat(sep=" ", timespec="seconds")
