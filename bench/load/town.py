"""5,000 devices with keys and certificates, in a register and an authority as `lichtmast up --secure` opens them.

Certificates are issued by the real authority and entered in the issuance log in one transaction. Claims and enrolment,
which write one transaction each, are not what is measured here.
"""

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from bench.load.mqtt import PROFILE
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lichtmast.registry import DeviceStatus, NewDevice, Registry
from lichtmast.registry.database import bump, open_engine, writing
from lichtmast.registry.devices import find_device
from lichtmast.registry.identity.certificates import log_certificate
from lichtmast.registry.pki import Authority, device_of_certificate, new_serial
from lichtmast.suite.folder import Folder
from lichtmast.suite.unlock import unlock_secret
from lichtmast.wire import DeviceId
from lichtmast.wire.label import spki_pin


def device(number: int) -> DeviceId:
    return DeviceId("gm0402", f"lm-{number:05d}")


@dataclass(frozen=True, slots=True)
class Town:
    """Where the devices' files are."""

    folder: Path
    devices: int

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    def credentials(self, number: int) -> Path:
        """A device's certificate and key in one file."""
        return self.folder / f"{number}.pem"

    def tls(self, number: int) -> ssl.SSLContext:
        """What a device brings to a handshake."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.root)
        context.load_cert_chain(self.credentials(number))
        return context


def register(folder: Folder, devices: int) -> None:
    """Active devices in the register."""
    with Registry.open(folder.registry) as registry:
        registry.ensure_tenant("gm0402")
        wanted = [NewDevice(device(number), PROFILE, None, DeviceStatus.ACTIVE) for number in range(devices)]
        registry.register_devices(wanted, at_us=time.time_ns() // 1000)


def certify(folder: Folder, files: Path, devices: int) -> Town:
    """An authority, and a certificate for each device that is registered."""
    town = Town(files, devices)
    files.mkdir()
    at_us = time.time_ns() // 1000
    authority = Authority.create(folder.authority, unlock_secret(folder), organisation="Lichtmast", now_us=at_us)
    town.root.write_bytes(authority.root_pem)
    engine = open_engine(folder.registry)
    with writing(engine) as connection:
        for number in range(devices):
            key = ec.generate_private_key(ec.SECP256R1())
            spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            der = authority.issue_device(device(number), spki, serial=new_serial(), now_us=at_us)
            stored = find_device(connection, device(number))
            pins = {"key_pin": spki_pin(spki), "issuer_pin": authority.device_issuer_pins[-1]}
            log_certificate(connection, stored, device_of_certificate(der), der, at_us, **pins)
            secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            town.credentials(number).write_bytes(ssl.DER_cert_to_PEM_cert(der).encode() + secret)
        bump(connection)
    engine.dispose()
    return town
