"""What the broker is told: our settings, and the configuration file of nats-server that follows from them.

Two forms. Open: plain MQTT on loopback for whoever comes, for development. With `tls`: TLS 1.3 with a device
certificate on both sides, and nobody in whom the callout has not admitted (docs/adr/0031). Pure text, no I/O.
"""

import json
import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

from lichtmast.ingest.errors import BrokerError
from lichtmast.wire import limits

MAX_PAYLOAD_BYTES: Final = 1024 * 1024
MQTT_IN_FLIGHT_MAX: Final = 1024
LOG_FILE_BYTES: Final = 4 * 1024 * 1024
TLS_TIMEOUT_S: Final = 30.0
"""When all devices come back at once their handshakes share the processor, and with a short time none would be done."""
AUTH_TIMEOUT_S: Final = 10.0
"""For the CONNECT and our answer to it: a slow-loris is out within 15 s."""

OWN_HOST: Final = "::1"
"""Where our own clients reach the broker, whatever devices use: this port has no TLS and never leaves the machine."""

ACCOUNT: Final = "LICHTMAST"
CALLOUT_USER: Final = "callout"
SYSTEM_USER: Final = "system"


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """PEM files: the server's certificate with its chain, its key, and the issuers of device certificates."""

    certificate: Path
    key: Path
    device_trust: Path


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker listens and how it writes.

    `host` is an IPv6 address literal without brackets. `sync_interval` is `always` (each message is fsynced before it
    is acknowledged) or a duration such as `1s`, for a replicated cluster or a benchmark. Port 0 takes a free one.
    """

    folder: Path
    host: str = "::1"
    mqtt_port: int = 1883
    client_port: int = 0
    sync_interval: str = "always"
    memory_limit_mb: int = 160
    connections_max: int = 20_000
    tls: BrokerTls | None = None

    def __post_init__(self) -> None:
        if self.sync_interval != "always" and not re.fullmatch(r"[1-9][0-9]{0,5}(ms|s|m)", self.sync_interval):
            raise BrokerError(f"sync_interval {self.sync_interval!r} is neither 'always' nor a duration such as 1s")
        if self.tls is None and not IPv6Address(self.host.partition("%")[0]).is_loopback:
            raise BrokerError(
                f"the broker cannot listen on [{self.host}]: without device certificates, open access is for "
                "loopback only; listen on [::1]"
            )


@dataclass(frozen=True, slots=True)
class Secrets:
    """What only we and our server know, new at each start; and the public half of the key that signs admissions."""

    user: str
    password: str
    callout_password: str
    system_password: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where this run of the server listens (-1: any free port) and keeps its files."""

    client_port: int
    mqtt_port: int
    ports: Path
    trust: Path


def log_file(folder: Path) -> Path:
    """Where the server writes what it has to say."""
    return folder / "nats-server.log"


def configuration(settings: BrokerSettings, secrets: Secrets, place: Place) -> str:
    """The server's configuration file.

    Devices get no more than their topics, ours get all; the ports once taken are kept, so that a restart finds the same
    devices waiting. MQTT needs `server_name` and JetStream. The cache of subjects holds 1,024 and thrashes with more
    devices than that: without it a publish costs an eighth less, and memory less too.
    """
    always = settings.sync_interval == "always"
    tls = settings.tls
    return f"""\
server_name: lichtmast
listen: "[{OWN_HOST}]:{place.client_port}"
ports_file_dir: {_quoted(place.ports)}
max_payload: {MAX_PAYLOAD_BYTES}
max_connections: {settings.connections_max}
max_control_line: 4096
write_deadline: "10s"
no_sublist_cache: true
log_file: {_quoted(log_file(settings.folder))}
logfile_size_limit: {LOG_FILE_BYTES}
logfile_max_num: 3
jetstream {{
  store_dir: {_quoted(settings.folder / "jetstream")}
  sync_interval: {"always" if always else _quoted(settings.sync_interval)}
}}
mqtt {{
  listen: "[{settings.host}]:{place.mqtt_port}"
  max_ack_pending: {MQTT_IN_FLIGHT_MAX}
{_listener_tls(tls, place.trust) if tls else ""}}}
accounts {{
  {ACCOUNT} {{
    jetstream: enabled
    users: [
      {{ user: {_quoted(secrets.user)}, password: {_quoted(secrets.password)} }}
{"" if tls else _OPEN_USER}    ]
  }}
  AUTH {{ users: [ {{ user: {CALLOUT_USER}, password: {_quoted(secrets.callout_password)} }} ] }}
  SYS {{ users: [ {{ user: {SYSTEM_USER}, password: {_quoted(secrets.system_password)} }} ] }}
}}
system_account: SYS
{_asking(secrets) if tls else "no_auth_user: open"}
"""


_OPEN_USER: Final = """\
      { user: open, password: "", permissions: {
          publish: { allow: ["lm.*.*.up", "lm.*.*.ev", "lm.*.*.state"], deny: ["lm.door.>"] }
          subscribe: { allow: [
            "lm.*.*.ack", "lm.*.*.cfg", "lm.*.*.cmd", "$MQTT.sub.>", "$MQTT.deliver.pubrel.>"
          ] }
      } }
"""


def _listener_tls(tls: BrokerTls, trust: Path) -> str:
    """TLS 1.3 has no weak suites left to switch off, no renegotiation and no compression."""
    return f"""\
  tls {{
    cert_file: {_quoted(tls.certificate)}
    key_file: {_quoted(tls.key)}
    ca_file: {_quoted(trust)}
    verify: true
    min_version: "1.3"
    timeout: {TLS_TIMEOUT_S}
  }}
"""


def _asking(secrets: Secrets) -> str:
    """Whoever is not one of our three users is asked about; no answer is a refusal."""
    return f"""\
authorization {{
  timeout: {AUTH_TIMEOUT_S}
  auth_callout {{
    issuer: {secrets.issuer}
    account: AUTH
    auth_users: [ {_quoted(secrets.user)}, {CALLOUT_USER}, {SYSTEM_USER} ]
  }}
}}"""


def _quoted(value: object) -> str:
    return json.dumps(str(value))


assert limits.ENVELOPE_BYTES_MAX < MAX_PAYLOAD_BYTES  # noqa: S101 - checked at import: an envelope must fit in a message
