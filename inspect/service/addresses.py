"""Where a service can be reached: addresses that a browser takes, where `--host` only says "all of this machine's"."""

import ipaddress
import itertools
import socket
from collections.abc import Iterator

import psutil


def addresses(host: str, port: int) -> list[str]:
    """Addresses of a service that listens at `host` and `port`, those that others can use first.

    Of a `host` that stands for every address of the machine (`0.0.0.0`, `::`) these are the addresses of its network
    interfaces, then loopback and its name, with a word on who reaches these.
    """
    listened = _address(host)
    if listened is None or not listened.is_unspecified:
        return [_url(host, port)]
    found = [_url(one, port) for one in _of_interfaces(listened.version)]
    found.append(f"{_url('127.0.0.1' if listened.version == 4 else '::1', port)} (on this machine)")
    name = socket.gethostname()
    return [*found, f"{_url(name, port)} (where this name is known)"] if name not in ("", "localhost") else found


def _of_interfaces(version: int) -> Iterator[str]:
    """Addresses of the interfaces that are up, without loopback and those that end at the next switch."""
    states = psutil.net_if_stats()
    up = (known for name, known in psutil.net_if_addrs().items() if name in states and states[name].isup)
    for one in itertools.chain.from_iterable(up):
        address = _address(one.address)
        if address is None or address.version != version or address.is_loopback or address.is_link_local:
            continue
        yield str(address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for what is no address: a name, or that of a network card."""
    try:
        return ipaddress.ip_address(text.strip("[]") or "0.0.0.0")  # an empty host is every address, too
    except ValueError:
        return None


def _url(host: str, port: int) -> str:
    return f"http://[{host.strip('[]')}]:{port}" if ":" in host else f"http://{host}:{port}"
