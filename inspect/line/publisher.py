"""Results to an MQTT broker: at least once, in order, and without keeping the line waiting.

    TOPIC/result    a result file, QoS 1
    TOPIC/state     online or offline, retained; the broker says offline for us if we are gone

What waits lies in publish/, a file a result, until the broker has acknowledged it: a broker that is away for a night
gets everything in the morning. A result may come twice after a kill or a lost connection; its `resultId` tells.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from flawmap.inspect.line.hand_over import waiting_results
from flawmap.tiling.errors import UsageError

PASSWORD = "FLAWMAP_MQTT_PASSWORD"  # on the command line everybody on the machine could read it
PORTS = {"mqtt": 1883, "mqtts": 8883}
ACKNOWLEDGED = 10.0  # s a broker may take before the connection counts as lost
AT_THE_END = 5.0  # s that a stop waits for what is still to be published


class Publisher:
    """Publishes what lies in a folder from a thread of its own, while the `with` block runs."""

    def __init__(self, address: str, folder: Path, say: Callable[[str], None]) -> None:
        """`address`: mqtt://[user@]host[:port]/topic, mqtts for TLS; the password stands in FLAWMAP_MQTT_PASSWORD.

        UsageError for an address that is none, or where paho-mqtt is not installed. A broker that is not there is not
        an error: it may come later.
        """
        self._folder, self._say = folder, say
        self._host, self._port, self.topic, user, tls = parse_address(address)
        try:
            import paho.mqtt.client as mqtt
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise UsageError("`--mqtt` needs paho-mqtt: pip install 'flawmap[mqtt]'") from None
        self._client: Any = mqtt.Client(CallbackAPIVersion.VERSION2)
        if user:
            self._client.username_pw_set(user, os.environ.get(PASSWORD))
        if tls:
            self._client.tls_set()
        self._client.will_set(f"{self.topic}/state", "offline", qos=1, retain=True)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.reconnect_delay_set(1, 30)
        self._wake, self._ends = threading.Event(), False
        self._online = False
        self._thread = threading.Thread(target=self._run, name="flawmap-mqtt", daemon=True)

    def __enter__(self) -> "Publisher":
        self._client.connect_async(self._host, self._port)
        self._client.loop_start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ends = True
        self._wake.set()
        self._thread.join(AT_THE_END)
        if self._online:
            self._client.publish(f"{self.topic}/state", "offline", qos=1, retain=True).wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()

    def wake(self) -> None:
        """Something new lies in the folder."""
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(5.0)
            self._wake.clear()
            while self._online and (files := waiting_results(self._folder)):
                if not all(map(self._publish, files)):
                    break
            if self._ends:
                return

    def _publish(self, path: Path) -> bool:
        """Whether the broker has the result in `path`; then it is removed here."""
        try:
            sent = self._client.publish(f"{self.topic}/result", path.read_bytes(), qos=1)
            sent.wait_for_publish(ACKNOWLEDGED)
        except (OSError, RuntimeError, ValueError):  # paho raises the last two for a connection that is gone
            return False
        if not sent.is_published():
            return False
        path.unlink(missing_ok=True)
        return True

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._say(f"the MQTT broker {self._host}:{self._port} refuses us: {reason}")
            return
        self._online = True
        client.publish(f"{self.topic}/state", "online", qos=1, retain=True)
        self._wake.set()

    def _disconnected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._online and not self._ends:
            self._say(f"the MQTT broker {self._host}:{self._port} is gone ({reason}); results wait in {self._folder}")
        self._online = False


def parse_address(address: str) -> tuple[str, int, str, str, bool]:
    """(host, port, topic, user, whether TLS is asked for); UsageError names the rule."""
    rule = f"`--mqtt` (={address}) must look like mqtt://[user@]host[:port]/topic, or mqtts:// for TLS"
    try:
        parts = urlsplit(address)
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise UsageError(rule) from None
    topic = unquote(parts.path).strip("/")
    if not parts.hostname or not topic or parts.query or "#" in address or "+" in topic:
        raise UsageError(rule)
    if parts.password is not None:
        raise UsageError(f"`--mqtt` must not hold the password, which everybody could read: set {PASSWORD}")
    return parts.hostname, port, topic, unquote(parts.username or ""), parts.scheme == "mqtts"
