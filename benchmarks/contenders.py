"""Contenders of a benchmark, those of packages that are not installed left out and named."""

from collections.abc import Callable
from typing import Any

Contenders = dict[str, Callable[[], Any]]

missing: set[str] = set()  # packages that are not installed here


def with_peers(contenders: Contenders, peers: dict[str, Callable[[], Callable[[], Any]]]) -> Contenders:
    """`contenders` and those of `peers`, built where their package is installed."""
    for name, build in peers.items():
        try:
            contenders[name] = build()
        except ImportError as error:
            missing.add(str(error.name))
    return contenders


def imported(package: str, run: Callable[[], Any]) -> Callable[[], Any]:
    """`run`, after an ImportError where `package` is not there."""
    __import__(package)
    return run
