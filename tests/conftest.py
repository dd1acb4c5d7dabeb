"""What every test stands on."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Timings are benchmarks, never assertions: a busy machine takes longer over an example than over the next.
settings.register_profile("flawmap", deadline=None)
settings.load_profile("flawmap")


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_works() -> Iterator[None]:
    """A suite started in the background of a script inherits an ignored SIGINT, and so would every command it runs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# What a test file does not ask for it does not wait for: these load nothing before they are used.


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy bundle of tests/bundles.py, mono uint8; who needs another has a fixture of this name."""
    from tests.bundles import make_bundle

    return make_bundle(tmp_path_factory.mktemp("bundle") / "toy").folder


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two bundles for cameras of different kinds."""
    from tests.stations import make_station

    folder = tmp_path_factory.mktemp("station")
    make_station(folder)
    return folder


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Pictures of the parts A to D by the cameras of `station`: see `write_mixed`."""
    from tests.stations import write_mixed

    write_mixed(tmp_path / "mixed")
    return tmp_path / "mixed"


@pytest.fixture
def nothing_is_left_running() -> Iterator[None]:
    """For tests that start watchers: also where one fails."""
    from tests.watching import kill_all

    yield
    kill_all()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from tests.browsers import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def opencv_threads() -> Iterator[None]:
    """A training turns OpenCV's thread pool off for its process; other tests are not trainings."""
    import cv2

    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images in a folder: good, one dot, two dots."""
    from tests.bundles import write_parts

    write_parts(tmp_path / "images")
    return tmp_path / "images"
