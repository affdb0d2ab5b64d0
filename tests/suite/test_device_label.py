"""`lichtmast device label` and what follows: what is printed is what is registered, and a scanner reads it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typer.testing import CliRunner
from workshop import Node

from lichtmast.registry import DeviceStatus, Registry, import_source
from lichtmast.registry.limits import LABELS_PER_SHEET
from lichtmast.registry.pki import Authority
from lichtmast.suite.__main__ import app, expected
from lichtmast.suite.clock import now_us
from lichtmast.suite.folder import Folder
from lichtmast.suite.unlock import unlock_secret
from lichtmast.wire import DeviceId, parse_label

Run = Callable[..., dict[str, Any]]

# What the sheets are read with: scripts/system-packages installs them.
needs_scanner = pytest.mark.skipif(
    not all(shutil.which(one) for one in ("zbarimg", "rsvg-convert", "pdftoppm")),
    reason="zbarimg, rsvg-convert or pdftoppm is not installed",
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an authority and two lampposts, to copy."""
    tmp_path = tmp_path_factory.mktemp("template")
    made = Folder.choose(tmp_path / "data")
    Authority.create(made.authority, unlock_secret(made), organisation="Test town", now_us=now_us())
    table = tmp_path / "lampposts.csv"
    table.write_text("id;straat;nummer;lon;lat\nL1;Kerkstraat;1;5,17;52,22\nL2;Kerkstraat;2;5,18;52,22\n")
    with Registry.open(made.registry) as registry:
        registry.ensure_tenant("gm0402")
        assert registry.import_assets("gm0402", import_source("csv", table, tenant="gm0402"), dry_run=False).committed
    return made.path


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Folder:
    return Folder(shutil.copytree(template, tmp_path / "data"))


@pytest.fixture
def run(folder: Folder) -> Run:
    """Run a `device` command with --json; its answer."""

    def call(*words: str, code: int = 0) -> dict[str, Any]:
        done = CliRunner().invoke(app, ["device", *words, "--data", str(folder.path), "--json"])
        assert done.exit_code == code, (done.output, done.exception)
        return dict(json.loads(done.stdout))

    return call


def failure(folder: Folder, *words: str) -> str:
    """What a command that fails as expected says."""
    done = CliRunner().invoke(app, ["device", *words, "--data", str(folder.path)])
    if isinstance(done.exception, expected()):
        return str(done.exception)
    assert done.exit_code == 2, (done.output, done.exception)
    return " ".join(done.output.replace("│", " ").split())


def key_of(node: Node, folder: Path) -> str:
    path = folder / f"{node.device.device}.pem"
    path.write_bytes(node.public_pem)
    return str(path)


def scanned(*images: Path) -> set[str]:
    told = subprocess.run(
        ["zbarimg", "--quiet", "--raw", *map(str, images)], capture_output=True, text=True, check=True
    )
    return set(told.stdout.split())


def source_ids(folder: Folder) -> list[str]:
    with Registry.open(folder.registry) as registry:
        return [one.source_id for one in registry.things("gm0402")]


@needs_scanner
@pytest.mark.slow
def test_a_scanner_reads_the_label_that_was_printed(folder: Folder, run: Run, tmp_path: Path) -> None:
    node = Node("lamp-0001")
    words = ("label", "gm0402/lamp-0001", "--profile", "weather", "--key", key_of(node, tmp_path))
    files = ("--svg", str(tmp_path / "one.svg"), "--text", str(tmp_path / "one.txt"))
    told = run(*words, *files)
    label = told["labels"][0]["label"]
    image = tmp_path / "one.png"
    # 200 dots an inch, what a phone makes of it at arm's length.
    subprocess.run(
        ["rsvg-convert", "--dpi-x", "200", "--dpi-y", "200", "-o", str(image), str(tmp_path / "one.svg")], check=True
    )
    assert scanned(image) == {label}
    assert (tmp_path / "one.txt").read_text() == f"{label}\n"
    assert told["staged"] == 1
    assert run(*words)["staged"] == 0
    with Registry.open(folder.registry) as registry:
        record = registry.device(DeviceId("gm0402", "lamp-0001"))
        assert record is not None
        assert record.status is DeviceStatus.REGISTERED
        event = registry.audit_log.read(limit=1, newest_first=True)[0]
    assert (event.action, event.actor_kind, event.source) == ("device.staged", "command", "local")
    assert event.actor not in {"", "local"}


@needs_scanner
@pytest.mark.slow
def test_every_label_of_two_sheets_is_read_by_a_scanner(run: Run, tmp_path: Path) -> None:
    names = [f"lamp-{number:04}" for number in range(LABELS_PER_SHEET)] + ["x" * 40]
    lines = ["device,profile,key"]
    for name in names:
        key_of(Node(name), tmp_path)
        lines.append(f"gm0402/{name},weather,{name}.pem")
    (tmp_path / "batch.csv").write_text("\n".join(lines))
    told = run("label", "--csv", str(tmp_path / "batch.csv"), "--pdf", str(tmp_path / "sheets.pdf"))
    # A phone looks at one label from several distances; the scanner gets whole sheets at several resolutions.
    for dots in ("150", "200", "300"):
        words = ["pdftoppm", "-r", dots, "-png", str(tmp_path / "sheets.pdf"), str(tmp_path / f"sheet-{dots}")]
        subprocess.run(words, check=True)
    sheets = sorted(tmp_path.glob("sheet-*.png"))
    assert len(sheets) == 2 * 3
    wanted = {one["label"] for one in told["labels"]}
    assert len(wanted) == len(names)
    assert scanned(*sheets) == wanted


@pytest.mark.slow
def test_a_device_lives_its_life_by_command(folder: Folder, run: Run, tmp_path: Path) -> None:
    first, second = source_ids(folder)
    nodes = Node("lamp-0001"), Node("lamp-0002")
    labels = [
        run("label", str(node.device), "--profile", "weather", "--key", key_of(node, tmp_path))["labels"][0]["label"]
        for node in nodes
    ]
    opened = run("claim", labels[0].lower(), "--asset", first)
    assert (opened["state"], opened["device"]) == ("open", "gm0402/lamp-0001")
    assert run("cancel", str(opened["claim"]))["state"] == "cancelled"
    run("claim", labels[0], "--asset", first)
    authority = Authority.open(folder.authority, unlock_secret(folder))
    with Registry.open(folder.registry) as registry:
        registry.identity.enrol(nodes[0].csr(), authority, at_us=now_us())
    issued = run("certificates", "gm0402/lamp-0001")["certificates"]
    assert [one["revoked"] for one in issued] == [None]
    device = "gm0402/lamp-0001"
    assert run("suspend", device, "--why", "it blinks") | {"asset_id": 0} == {
        "device": device, "status": "suspended", "asset_id": 0, "changed": True,
    }  # fmt: skip
    assert not run("suspend", device)["changed"]
    assert run("resume", device)["status"] == "active"
    assert run("move", device, "--asset", second)["changed"]
    assert run("move", device, "--stock")["asset_id"] is None
    assert run("move", device, "--asset", first)["changed"]
    assert run("revoke", device, "--reason", "keyCompromise")["revoked"] == [issued[0]["serial"]]
    assert run("certificates", device)["certificates"][0]["reason"] == "keyCompromise"
    assert run("replace", device, labels[1])["device"] == "gm0402/lamp-0002"
    assert run("retire", "gm0402/lamp-0002")["status"] == "retired"
    shown = CliRunner().invoke(app, ["device", "certificates", device, "--data", str(folder.path)])
    assert "revoked" in shown.stdout


def test_what_is_asked_for_wrongly_is_told_and_registers_nothing(folder: Folder, tmp_path: Path) -> None:
    node = Node("lamp-0001")
    good = key_of(node, tmp_path)
    rsa_key = rsa.generate_private_key(65537, 2048).public_key()
    (tmp_path / "rsa.pem").write_bytes(rsa_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key()
    (tmp_path / "p384.pem").write_bytes(p384.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    secret = node.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "secret.pem").write_bytes(secret)
    (tmp_path / "junk.pem").write_bytes(b"\xff junk")
    (tmp_path / "large.pem").write_bytes(b"x" * 5000)
    one = ("label", "gm0402/lamp-0001", "--profile")
    wrong = {
        "not P-256": (*one, "weather", "--key", str(tmp_path / "rsa.pem")),
        "is not P-256": (*one, "weather", "--key", str(tmp_path / "p384.pem")),
        "private key, which must never leave": (*one, "weather", "--key", str(tmp_path / "secret.pem")),
        "no public key in PEM": (*one, "weather", "--key", str(tmp_path / "junk.pem")),
        "at most 4096 bytes": (*one, "weather", "--key", str(tmp_path / "large.pem")),
        "no profile 'toaster'": (*one, "toaster", "--key", good),
        "name a device with --profile": ("label", "gm0402/lamp-0001"),
        "not of the form tenant/device": ("label", "lamp-0001", "--profile", "weather", "--key", good),
        "no Lichtmast label": ("claim", "hello", "--asset", "L1"),
        "name a lamppost with --asset": ("move", "gm0402/lamp-0001"),
        "is not in the register": ("certificates", "gm0402/lamp-0001"),
    }
    for sentence, words in wrong.items():
        assert sentence in failure(folder, *words)
    with Registry.open(folder.registry) as registry:
        assert registry.counts().devices == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("device;profile;key\n", "needs the columns device, profile, key"),
        ("", "needs the columns"),
        ("device,profile,key\n", "holds no device"),
        ("device,profile,key\ngm0402/lamp-0001,weather,lamp-0001.pem\ngm0402/lamp-2,weather,gone.pem\n", "line 3"),
        ("device,profile,key\ngm0402/LAMP,weather,lamp-0001.pem\n", "line 2: device 'LAMP'"),
        ("device,profile,key\ngm0402/lamp-0001\n", "line 2"),
        ('device,profile,key\n"gm0402/lamp-0001', "unexpected end of data; nothing was registered"),
        ("device,profile,key\ngm0402/lamp-\udcff,weather,lamp-0001.pem\n", "can't decode"),
        (
            "device,profile,key\ngm0402/lamp-0001,weather,lamp-0001.pem\ngm0402/lamp-0002,weather,lamp-0001.pem\n",
            "has the same key",
        ),
    ],
)
def test_a_table_with_one_wrong_line_registers_nothing(
    folder: Folder, tmp_path: Path, content: str, sentence: str
) -> None:
    key_of(Node("lamp-0001"), tmp_path)
    table = tmp_path / "batch.csv"
    table.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert sentence in failure(folder, "label", "--csv", str(table))
    with Registry.open(folder.registry) as registry:
        assert registry.counts().devices == 0


def test_a_label_that_was_scanned_is_the_one_that_was_printed(run: Run, tmp_path: Path) -> None:
    node = Node("lamp-0001")
    told = run("label", str(node.device), "--profile", "weather", "--key", key_of(node, tmp_path))
    assert parse_label(told["labels"][0]["label"]).device == node.device
