"""The system's own word that a picture was closed or renamed into place; where there is none, looking has to do.

Linux tells of every file that its writer closes, Windows and macOS only that it came. Of a network share that another
machine writes to, no system tells anything.
"""

import os
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from flawmap.inspect.line.arrivals import DONE
from flawmap.tiling.image_listing import IMAGE_SUFFIXES

CAME = ("created", "modified") if os.name == "nt" else ("created",)


class Events:
    """Rings `bell` from its own thread while the `with` block runs: with the path of a file that was closed or renamed
    into place, and with an empty text where a look is worth while. `note` says why there are no events.
    """

    def __init__(self, folder: Path, bell: "SimpleQueue[str]") -> None:
        self.note = ""
        self._observer: Any = None
        try:
            from watchdog.events import FileSystemEvent, FileSystemEventHandler
            from watchdog.observers import Observer
        except ImportError:
            self.note = "watchdog is not installed, pictures are found by looking only: pip install 'flawmap[watch]'"
            return

        class Ring(FileSystemEventHandler):
            def dispatch(self, event: FileSystemEvent) -> None:
                path = os.fsdecode(event.dest_path if event.event_type == "moved" else event.src_path)
                if event.is_directory or not path.lower().endswith((*IMAGE_SUFFIXES, DONE)):
                    return
                if event.event_type in ("closed", "moved"):
                    bell.put(path)
                elif event.event_type in CAME:
                    bell.put("")

        observer = Observer()
        try:
            observer.schedule(Ring(), str(folder.absolute()), recursive=True)
            observer.start()
        except OSError as error:  # the system's limit on watches, a file system without them
            self.note = f"pictures are found by looking only: {error.strerror or error}"
            return
        self._observer = observer

    def __enter__(self) -> "Events":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
