"""The label on a node: which device it is, which key it made, and whose city it belongs to. Nothing on it is secret.

`LM1:GM0402:LAMP-0001:<key pin>:<root pin>:<check digits>`, in the alphanumeric characters of a QR code (ISO/IEC 18004
table 5), so that the code stays coarse enough for a phone in the rain. A pin is the first 128 bits of SHA-256 over a
public key, in base32 without padding. The check digits are ISO 7064 MOD 97-10 over everything before them, each
character as the two digits of its value in that table: a single wrong character, or two neighbours swapped, is found.

Will not: know whether the device exists, or whether anybody may claim it. Whoever copied a label has gained nothing.
"""

import re
from base64 import b32decode, b32encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from lichtmast.wire.identity import DeviceId, IdentityError
from lichtmast.wire.limits import LABEL_CHARACTERS_MAX, PIN_BYTES

_FORMAT: Final = "LM1"
_ALPHANUMERIC: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHANUMERIC)}
_FIELDS: Final = 6
_CHECK: Final = re.compile(r":[0-9]{2}", re.ASCII)
_PIN: Final = re.compile(r"[A-Z2-7]{26}", re.ASCII)
_BEGINNING: Final = re.compile(r"LM[0-9]+:GM[0-9]{4}:", re.ASCII)
_VERSION: Final = re.compile(r"LM[0-9]{1,4}", re.ASCII)
_PIN_LOOKALIKES: Final = {"0": "O", "1": "I", "8": "B", "9": "P"}


class LabelError(ValueError):
    """A text is no label of ours; the message is one plain sentence for whoever holds the phone."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a label says. Raises LabelError where a pin is not 16 bytes."""

    device: DeviceId
    key_pin: bytes
    """Of the public key that the node made for itself."""
    root_pin: bytes
    """Of the city's root certificate: the node trusts no server that is not under it."""

    def __post_init__(self) -> None:
        if len(self.key_pin) != PIN_BYTES or len(self.root_pin) != PIN_BYTES:
            raise LabelError(f"a pin has {PIN_BYTES} bytes, the first of SHA-256 over a public key")

    @property
    def text(self) -> str:
        """What the QR code holds and the print beside it says; the inverse of `parse_label`."""
        device = self.device
        body = ":".join(
            (_FORMAT, device.tenant.upper(), device.device.upper(), pin_text(self.key_pin), pin_text(self.root_pin))
        )
        return f"{body}:{_check_digits(body + ':')}"


def spki_pin(spki_der: bytes) -> bytes:
    """The pin of a public key: the first 16 bytes of SHA-256 over its DER SubjectPublicKeyInfo."""
    return sha256(spki_der).digest()[:PIN_BYTES]


def pin_text(pin: bytes) -> str:
    """A pin as labels and messages write it: 26 characters of base32."""
    return b32encode(pin).decode("ascii").rstrip("=")


def parse_label(text: str) -> Label:
    """Read a label, scanned or typed: lower case and white space around it are taken. Raises LabelError."""
    _require_one_code(text)
    code = text.strip().upper()
    fields = code.split(":")
    if fields[0] != _FORMAT:
        if _VERSION.fullmatch(fields[0]):
            raise LabelError(
                f"this label has version {fields[0]}, and this Lichtmast reads {_FORMAT}; update Lichtmast"
            )
        raise LabelError(f"this is no Lichtmast label, which begins with {_FORMAT}:; scan the label on the node")
    if len(fields) != _FIELDS:
        raise LabelError(f"this label has {len(fields)} parts of {_FIELDS}; it was not read to its end, scan it again")
    device = _device(fields[1], fields[2])
    key_pin, root_pin = _pin(fields[3], "key"), _pin(fields[4], "city")
    body, check = code[:-2], code[-2:]
    if not _CHECK.fullmatch(code[-3:]) or check != _check_digits(body):
        raise LabelError("the check digits do not fit, so a character was read wrong; scan or type the label again")
    return Label(device, key_pin, root_pin)


def _require_one_code(text: str) -> None:
    """What can be said before the parts are looked at: too much, two codes, an address, letters of other scripts."""
    if len(text) > LABEL_CHARACTERS_MAX:
        raise LabelError(f"this code has {len(text)} characters, and a Lichtmast label at most {LABEL_CHARACTERS_MAX}")
    code = text.strip()
    if not code:
        raise LabelError("the code is empty; scan the label on the node")
    if len(_BEGINNING.findall(code.upper())) > 1:
        raise LabelError("these are two labels; scan one")
    # Before upper(): letters of other scripts may become Latin ones there, as U+0131 does.
    strange = next((one for one in code if one.upper() not in _VALUES or not one.isascii()), None)
    if re.match(r"(?i)[a-z][a-z0-9+.-]*://|javascript:|data:|mailto:|wifi:", code):
        raise LabelError(
            "this is an address or a code of another kind, not a Lichtmast label; scan the label on the node"
        )
    if strange is not None:
        raise LabelError(
            f"U+{ord(strange):04X} is on no label, though it may look like one that is; scan or type the label again"
        )
    if " " in code:
        raise LabelError("a label has no spaces inside; scan or type it again")


def _device(tenant: str, device: str) -> DeviceId:
    try:
        return DeviceId(tenant.lower(), device.lower())
    except IdentityError as error:
        raise LabelError("the label names no device: it needs a municipality and a name, as in GM0402:LAMP-0001") from (
            error
        )


def _pin(text: str, whose: str) -> bytes:
    if not _PIN.fullmatch(text):
        wrong = next((one for one in text if one in _PIN_LOOKALIKES), None)
        hint = f"{wrong} is never in it, {_PIN_LOOKALIKES[wrong]} may be" if wrong else f"{len(text)} characters came"
        raise LabelError(f"the {whose} part of the label has 26 characters of A to Z and 2 to 7; {hint}")
    pin = b32decode(text + "======")
    if pin_text(pin) != text:  # The last character carries two unused bits: one spelling for one pin.
        raise LabelError(
            f"the {whose} part of the label ends in {text[-1]}, which no label does; scan or type it again"
        )
    return pin


def _check_digits(body: str) -> str:
    """ISO 7064 MOD 97-10 of the text with its last colon: the whole is then 1 modulo 97."""
    remainder = 0
    for character in body:
        remainder = (remainder * 100 + _VALUES[character]) % 97
    return f"{98 - remainder * 100 % 97:02d}"
