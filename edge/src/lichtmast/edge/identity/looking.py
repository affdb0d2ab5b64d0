"""What commands show of the identity, and what a self-test finds wrong with it. Never the private key.

Imported by commands only, as `keys` is.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lichtmast.edge.identity import est
from lichtmast.edge.identity.caretaker import Errand
from lichtmast.edge.identity.certificates import pin_of, read_pem
from lichtmast.edge.identity.errors import CertificateError, EstError, KeyFileError
from lichtmast.edge.identity.exchange import kept_certificate
from lichtmast.edge.identity.keeping import IdentityFolder, pem_in
from lichtmast.edge.identity.keys import load_key
from lichtmast.edge.identity.refusals import IdentityRefusedError
from lichtmast.edge.identity.tls import Moment
from lichtmast.wire.label import Label, pin_text

Finding = tuple[str, str, str, str]
"""What was looked at, PASS, WARN or FAIL, what was found, and what to do."""


def describe(folder: IdentityFolder, label: Label | None) -> dict[str, str]:
    """The identity, line by line. Raises KeyFileError, CertificateError."""
    key = load_key(folder.key)
    kept = folder.load()
    own = kept.certificate
    return {
        "key": str(folder.key),
        "key_pin": pin_text(key.pin),
        "label": "none in the settings" if label is None else label.text,
        "root_pin": "" if label is None else pin_text(label.root_pin),
        "trusted_roots": ", ".join(_roots(kept.trust_file)) or "none yet",
        "certificate": "none yet" if own is None else f"serial {own.serial}",
        "valid_from": "" if own is None else _day(own.not_before_us),
        "valid_until": "" if own is None else _day(own.not_after_us),
        "damage": kept.damage or "none",
    }


def check_identity(errand: Errand) -> list[Finding]:
    """Key, label, certificate, and whether the EST server answers as one that this label's root vouches for."""
    return [*_check_files(errand), _check_server(errand)]


def _check_files(errand: Errand) -> Iterator[Finding]:
    try:
        key = load_key(errand.folder.key)
    except KeyFileError as error:
        yield "key", "FAIL", str(error), "see docs/how-to/provision-a-device.md"
        return
    if key.pin != errand.label.key_pin:
        told = f"this key has the pin {pin_text(key.pin)}, and the label {pin_text(errand.label.key_pin)}"
        yield "key", "FAIL", told, "make a label for this key: lichtmast device label"
        return
    yield "key", "PASS", f"it is the one of the label, pin {pin_text(key.pin)}", ""
    kept = errand.folder.load()
    if kept.damage:
        yield (
            "identity files",
            "WARN",
            kept.damage,
            "the agent goes on without it, and asks anew; look at the disk",
        )
    try:
        own = kept_certificate(errand.folder, errand.label)
    except CertificateError as error:
        yield "certificate", "FAIL", str(error), "the agent asks for another when it runs; see its log"
        return
    if own is None:
        yield "certificate", "WARN", "there is none yet", "claim the device, and start the agent"
    else:
        yield "certificate", "PASS", f"serial {own.serial}, until {_day(own.not_after_us)}", ""


def _check_server(errand: Errand) -> Finding:
    trust = errand.folder.load().trust_file
    server = est.Server(errand.host, errand.port)
    name = f"EST server {server}"
    try:
        answer = est.ask(server, "cacerts", trust=trust, moment=Moment(0, is_trusted=False))
    except (EstError, IdentityRefusedError) as error:
        return name, "FAIL", str(error), "check [enrol] host and port, network and server"
    if answer.status != 200:  # noqa: PLR2004 - OK
        return name, "FAIL", answer.reason, "see the server's log"
    told = "it answers; whether it is ours shows when the agent runs" if trust is None else "it answers, and is ours"
    return name, "PASS", told, ""


def _roots(trust: Path | None) -> list[str]:
    return [] if trust is None else [pin_text(pin_of(one)) for one in read_pem(pem_in(trust))]


def _day(wall_us: int) -> str:
    return datetime.fromtimestamp(wall_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
