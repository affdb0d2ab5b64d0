"""`lichtmast device label`: register devices with the keys that their nodes made, and print their labels."""

import csv
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lichtmast.registry import Registry
from lichtmast.registry.identity import PublicKeyError, label_svg, labels_pdf, read_public_key
from lichtmast.registry.limits import LABELS_MAX
from lichtmast.registry.pki import Authority
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.output import DataOption, JsonOption, console, print_json
from lichtmast.suite.errors import DeviceOrderError
from lichtmast.suite.folder import Folder
from lichtmast.suite.operator_actor import operator_actor
from lichtmast.suite.unlock import unlock_secret
from lichtmast.wire import DeviceId, IdentityError, Label, pin_text, spki_pin

COLUMNS: Final = ("device", "profile", "key")
TABLE_BYTES_MAX: Final = 16 * 1024 * 1024

FileOption = typer.Option(dir_okay=False, writable=True, show_default="none")


def label(  # noqa: PLR0913 - one parameter an option
    device: Annotated[
        str | None, typer.Argument(metavar="TENANT/DEVICE", help="As in gm0402/lamp-0001.", show_default="--csv")
    ] = None,
    data: DataOption = None,
    *,
    profile: Annotated[str | None, typer.Option(help="What it measures: a key of docs/reference/profiles.md.")] = None,
    key: Annotated[Path | None, typer.Option(help="The node's public key, PEM.", exists=True, dir_okay=False)] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="Many devices: columns device, profile, key (a file beside it).", exists=True, dir_okay=False
        ),
    ] = None,
    svg: Annotated[Path | None, FileOption] = None,
    pdf: Annotated[Path | None, FileOption] = None,
    text: Annotated[Path | None, FileOption] = None,
    as_json: JsonOption = False,
) -> None:
    """Register devices with their nodes' public keys and print their labels; nothing on them is secret.

    SVG holds one label, PDF sheets of 24 on A4, text one a line. All devices are registered or none.
    """
    folder = Folder.choose(data)
    rows = _rows(device, profile, key, table)
    if svg is not None and len(rows) != 1:
        raise typer.BadParameter("an SVG holds one label; use --pdf for many")
    root_pin = Authority.open(folder.authority, unlock_secret(folder)).root_pin
    wanted = [(Label(one, spki_pin(spki_der), root_pin), of) for one, of, spki_der in rows]
    by, at_us = operator_actor(), now_us()
    with Registry.open(folder.registry) as registry:
        for tenant in dict.fromkeys(one.device.tenant for one, _ in wanted):
            registry.ensure_tenant(tenant, by=by, at_us=at_us)
        staged = registry.identity.stage_all(wanted, by=by, at_us=at_us)
    labels = [one for one, _ in wanted]
    _write(labels, svg, pdf, text)
    if as_json:
        print_json({"staged": staged, "labels": [_document(one) for one in labels]})
        return
    for one in labels:
        console.print(one.text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{staged} of {len(labels)} registered, the others were already; tell each node its label")


def _rows(
    device: str | None, profile: str | None, key: Path | None, table: Path | None
) -> list[tuple[DeviceId, str, bytes]]:
    """Device, profile and public key of each label, from the options or from the table."""
    if table is not None:
        if device is not None or profile is not None or key is not None:
            raise typer.BadParameter("--csv says which devices; leave the device, --profile and --key out")
        return _table(table)
    if device is None or profile is None or key is None:
        raise typer.BadParameter("name a device with --profile and --key, or many with --csv")
    return [(DeviceId.parse(device), profile, read_public_key(key.read_bytes()))]


def _table(path: Path) -> list[tuple[DeviceId, str, bytes]]:
    if path.stat().st_size > TABLE_BYTES_MAX:
        raise DeviceOrderError(f"{path} is larger than {TABLE_BYTES_MAX} bytes; split it")
    rows = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise DeviceOrderError(f"{path} needs the columns {', '.join(COLUMNS)} in its first line, with commas")
        try:
            for row in reader:
                rows.append(_row(path, row))
                if len(rows) > LABELS_MAX:
                    raise DeviceOrderError(f"{path} holds more than {LABELS_MAX} devices; split it")
        except (csv.Error, UnicodeDecodeError, IdentityError, PublicKeyError, OSError) as error:
            told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DeviceOrderError(f"{path} line {reader.line_num}: {told}; nothing was registered") from error
    if not rows:
        raise DeviceOrderError(f"{path} holds no device")
    return rows


def _row(path: Path, row: dict[str | Any, str | Any]) -> tuple[DeviceId, str, bytes]:
    device, profile, key = ((row[name] or "").strip() for name in COLUMNS)
    return DeviceId.parse(device), profile, read_public_key((path.parent / key).read_bytes())


def _write(labels: list[Label], svg: Path | None, pdf: Path | None, text: Path | None) -> None:
    if svg is not None:
        svg.write_text(label_svg(labels[0]), encoding="ascii")
    if pdf is not None:
        pdf.write_bytes(labels_pdf(labels))
    if text is not None:
        text.write_text("".join(f"{one.text}\n" for one in labels), encoding="ascii")


def _document(one: Label) -> dict[str, str]:
    return {"device": str(one.device), "label": one.text, "key": pin_text(one.key_pin)}
