"""Tells systemd how a service fares: started, alive, stopping (sd_notify(3), a datagram to the socket it names).

Elsewhere than under systemd nothing is told and nothing goes wrong.
"""

import os
import socket
import time
from contextlib import suppress


def notify(state: str) -> None:
    """`state`: lines such as `READY=1`, `STATUS=...`, `WATCHDOG=1`, `STOPPING=1`."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.sendto(state.encode(errors="backslashreplace"), address)


class SignOfLife:
    """`WATCHDOG=1` at half the time that the unit's `WatchdogSec=` allows, from the loop that must not hang."""

    def __init__(self) -> None:
        allowed = os.environ.get("WATCHDOG_USEC", "")
        self._every = int(allowed) / 2e6 if allowed.isdigit() else None
        self._last = 0.0

    def give(self, status: str) -> None:
        """Cheap enough for every turn of a loop; `status` is what `systemctl status` shows."""
        now = time.monotonic()
        if now - self._last >= (self._every or 10.0):
            self._last = now
            notify(f"STATUS={status}" + ("" if self._every is None else "\nWATCHDOG=1"))
