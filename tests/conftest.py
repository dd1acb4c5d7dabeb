"""What every test stands on."""

import signal
from collections.abc import Iterator

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
