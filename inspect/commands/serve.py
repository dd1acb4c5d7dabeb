"""`flawmap serve`."""

from pathlib import Path
from typing import Annotated

import typer

from flawmap.inspect.commands.options import Device, FalseAlarms


def serve(
    runs_dir: Annotated[
        Path, typer.Argument(metavar="RUNS_DIR", help="Folder of runs: those to show, and those of this service.")
    ],
    model: Annotated[Path, typer.Option("--model", "-m", help="Bundle that `flawmap train` wrote.")],
    host: Annotated[str, typer.Option(help="Address to listen at; another than loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(help="File that holds the token; FLAWMAP_TOKEN holds it otherwise.")
    ] = None,
    allow: Annotated[
        list[Path] | None, typer.Option(metavar="ROOT", help="Images below it may be asked for by path; repeatable.")
    ] = None,
    upload_limit_mb: Annotated[int, typer.Option(help="Largest image that is taken, in MB.")] = 256,
    image_limit_mp: Annotated[int, typer.Option(help="Largest image that is inspected, in megapixels.")] = 150,
    queue: Annotated[int, typer.Option(help="Images that may wait; the next one is told to come again.")] = 16,
    device: Device = "auto",
    false_alarms: FalseAlarms = None,
    keep_uploads: Annotated[bool, typer.Option(help="Keep images that were sent, beside their results.")] = True,
    zoom: Annotated[bool, typer.Option(help="Write pictures at full size, for review and report.")] = True,
    database: Annotated[
        str | None, typer.Option(help="Where marks are kept: review.sqlite in RUNS_DIR, or postgresql://...")
    ] = None,
) -> None:
    """Shows runs and inspects images over HTTP. Here and now or for the plant, with a REST API."""
    from flawmap.inspect.serve.runs import ServeSettings, serve_runs

    settings = ServeSettings(
        host=host,
        port=port,
        token_file=token_file,
        allow=tuple(allow or ()),
        upload_limit_mb=upload_limit_mb,
        image_limit_mp=image_limit_mp,
        queue=queue,
        device=device,
        false_alarms=false_alarms,
        keep_uploads=keep_uploads,
        zoom=zoom,
        database=database,
    )
    serve_runs(runs_dir, model, settings)
