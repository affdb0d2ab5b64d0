"""The options of `lichtmast up`, one a line of its help."""

from pathlib import Path
from typing import Annotated

import typer


def _port(help_text: str) -> typer.models.OptionInfo:
    told: typer.models.OptionInfo = typer.Option(
        min=0, max=65_535, help=f"{help_text} 0 takes a free one.", show_default=False
    )
    return told


Town = Annotated[bool, typer.Option("--town", help="Also run a simulated town on the lampposts in the register.")]
Devices = Annotated[
    int | None,
    typer.Option(min=1, max=5_000, help="Devices of the town. Default: a lamp on each lamppost, and some sensors."),
]
IntervalS = Annotated[
    float | None,
    typer.Option(min=0.1, help="Seconds between two packs of a device of the town. Default: 10.", show_default=False),
]
Host = Annotated[str, typer.Option(help="IPv6 address to listen on. Off loopback all is encrypted.")]
HttpPort = Annotated[int | None, _port("Pages and API. Default: 8080, encrypted 8443.")]
MqttPort = Annotated[int | None, _port("MQTT. Default: 1883, encrypted 8883.")]
CoapPort = Annotated[int | None, _port("CoAP. Default: 5683, encrypted 5684.")]
EstPort = Annotated[int | None, _port("Enrolment of devices (EST), where encrypted. Default: 9443.")]
Secure = Annotated[bool, typer.Option("--secure", help="Encrypt everything and demand certificates on loopback too.")]
Name = Annotated[
    list[str] | None,
    typer.Option(help="DNS name or IPv6 address by which this server is reached, for its certificates; repeatable."),
]
TlsCertificate = Annotated[
    Path | None, typer.Option(help="Certificate chain (PEM) for pages and API. Default: one of our own authority.")
]
TlsKey = Annotated[Path | None, typer.Option(help="The key (PEM) of --tls-certificate.")]
OpenId = Annotated[
    Path | None, typer.Option("--openid", help="OpenID Connect provider where people sign in too: a TOML file.")
]
SecurityContact = Annotated[
    str | None,
    typer.Option(help="Where weaknesses are reported, for security.txt: mailto:, https: or tel:.", show_default=False),
]
SyncInterval = Annotated[
    str, typer.Option(help="When the log fsyncs: always, or after a time such as 1s (only with replication).")
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Log every event, not only warnings.")]
