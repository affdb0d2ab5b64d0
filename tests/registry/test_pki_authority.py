"""What the authority makes, judged by OpenSSL, and what it says when it cannot go on."""

import shutil
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from authority_parts import (
    DAY_US,
    DEVICE,
    ORGANISATION,
    SECRET,
    active,
    new_authority,
    now_us,
    openssl,
    p256,
    rsa_key,
    spki,
    verified,
)
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lichtmast.registry.pki import (
    Authority,
    AuthorityError,
    AuthorityKind,
    KeyDamagedError,
    KeyMissingError,
    RevokedSerial,
    WrongSecretError,
    device_of_certificate,
    new_serial,
)
from lichtmast.wire.label import spki_pin

pytestmark = pytest.mark.system  # openssl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "authority"


@pytest.fixture
def authority(folder: Path) -> Authority:
    return new_authority(folder)


def issue(authority: Authority, path: Path) -> Path:
    der = authority.issue_device(DEVICE, spki(p256()), serial=new_serial(), now_us=now_us())
    path.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    return path


def serve(authority: Authority, path: Path, *hosts: str) -> Path:
    path.write_bytes(authority.issue_server(hosts, now_us=now_us()).chain_pem)
    return path


def text(path: Path) -> str:
    done = openssl("x509", "-in", path, "-noout", "-text", "-nameopt", "RFC2253")
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_a_device_certificate_has_a_name_a_key_and_nothing_else(authority: Authority, tmp_path: Path) -> None:
    told = text(issue(authority, tmp_path / "leaf.pem"))
    assert f"Subject: CN={DEVICE.device}\n" in told
    assert f"X509v3 Subject Alternative Name: \n                URI:{DEVICE.urn}\n" in told
    assert "X509v3 Basic Constraints: critical\n                CA:FALSE" in told
    assert "X509v3 Key Usage: critical\n                Digital Signature\n" in told
    assert "X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n" in told
    assert "NIST CURVE: P-256" in told
    assert "Signature Algorithm: ecdsa-with-SHA256" in told
    assert told.count("            X509v3 ") == 6  # those four, and the two key identifiers


def test_openssl_takes_a_device_for_a_client_of_the_device_authority_alone(
    authority: Authority, folder: Path, tmp_path: Path
) -> None:
    leaf, trust = issue(authority, tmp_path / "leaf.pem"), tmp_path / "trust.pem"
    trust.write_bytes(authority.device_trust_pem)
    assert verified(leaf, trust, "sslclient", "-partial_chain") == "ok"
    assert "purpose" in verified(leaf, trust, "sslserver", "-partial_chain")
    assert verified(leaf, active(folder, "root"), "sslclient", "-untrusted", trust) == "ok"
    assert "issuer" in verified(leaf, active(folder, "servers"), "sslclient", "-partial_chain")


def test_openssl_takes_a_server_by_the_root_for_its_hosts_alone(
    authority: Authority, folder: Path, tmp_path: Path
) -> None:
    chain, root = serve(authority, tmp_path / "chain.pem", "[2001:db8::1]", "Lamps.Example.nl"), active(folder, "root")
    assert verified(chain, root, "sslserver", "-untrusted", chain) == "ok"
    assert "purpose" in verified(chain, root, "sslclient", "-untrusted", chain)
    for option, host, is_named in (
        ("-verify_ip", "2001:db8::1", True),
        ("-verify_ip", "2001:db8::2", False),
        ("-verify_hostname", "lamps.example.nl", True),
        ("-verify_hostname", "lamp.example.nl", False),
    ):
        assert (verified(chain, root, "sslserver", "-untrusted", chain, option, host) == "ok") == is_named, host


def test_an_authority_signs_no_authorities_and_says_what_it_signs(authority: Authority, folder: Path) -> None:
    assert authority.organisation == ORGANISATION
    assert "CA:TRUE\n" in text(active(folder, "root"))
    for kind, usage in (("devices", "TLS Web Client Authentication"), ("servers", "TLS Web Server Authentication")):
        told = text(active(folder, kind))
        assert "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0\n" in told
        assert "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n" in told
        assert f"X509v3 Extended Key Usage: \n                {usage}\n" in told
        assert verified(active(folder, kind), active(folder, "root"), "any") == "ok"


def test_lives_are_90_days_3_years_and_20_years_and_begin_five_minutes_back(authority: Authority) -> None:
    at_us = now_us()
    told = device_of_certificate(authority.issue_device(DEVICE, spki(p256()), serial=1, now_us=at_us))
    assert told.not_after_us == (at_us + 90 * DAY_US) // 1_000_000 * 1_000_000
    assert told.not_before_us >= at_us - 301_000_000
    years = [round((one.not_after_us - one.not_before_us) / (365 * DAY_US)) for one in authority.certificates()]
    assert years == [20, 3, 3]


def test_a_certificate_never_outlives_its_issuer(authority: Authority) -> None:
    ends_us = authority.certificates()[1].not_after_us
    told = device_of_certificate(authority.issue_device(DEVICE, spki(p256()), serial=1, now_us=ends_us - 10 * DAY_US))
    assert told.not_after_us == ends_us
    server = authority.issue_server(["::1"], now_us=authority.certificates()[2].not_after_us - 10 * DAY_US)
    assert server.not_after_us == authority.certificates()[2].not_after_us
    for at_us in (ends_us, 0):
        with pytest.raises(AuthorityError, match=r"roll the authority over"):
            authority.issue_device(DEVICE, spki(p256()), serial=1, now_us=at_us)


def test_no_certificate_begins_before_its_issuer(authority: Authority) -> None:
    begins_us = authority.certificates()[1].not_before_us
    der = authority.issue_device(DEVICE, spki(p256()), serial=1, now_us=begins_us)
    assert device_of_certificate(der).not_before_us == begins_us


def test_serials_are_128_random_bits() -> None:
    drawn = {new_serial() for _ in range(1000)}
    assert len(drawn) == 1000
    assert all(0 < one < 2**128 for one in drawn)
    assert max(drawn) > 2**126  # all bits take part


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: ec.generate_private_key(ec.SECP384R1()).public_key(), id="p384"),
        pytest.param(lambda: rsa_key(2048).public_key(), id="rsa"),
    ],
)
def test_only_p256_keys_are_certified(authority: Authority, key: Callable[[], ec.EllipticCurvePublicKey]) -> None:
    der = key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(AuthorityError, match="P-256"):
        authority.issue_device(DEVICE, der, serial=1, now_us=now_us())
    with pytest.raises(AuthorityError, match="cannot be read"):
        authority.issue_device(DEVICE, der[:-1], serial=1, now_us=now_us())


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["*.example.nl"],
        ["192.0.2.1"],
        ["example..nl"],
        ["-a.nl"],
        ["a b.nl"],
        ["éé.nl"],
        ["x" * 64 + ".nl"],
        ["a." * 127 + "nl"],
        ["2001:db8::g"],
        ["https://a.nl"],
        [""],
        [f"{number}.nl" for number in range(33)],
    ],
)
def test_a_server_is_certified_for_ipv6_addresses_and_names_only(authority: Authority, hosts: list[str]) -> None:
    with pytest.raises(AuthorityError, match=r"names|neither an IPv6"):
        authority.issue_server(hosts, now_us=now_us())


def test_revocation_lists_are_signed_by_each_authority_and_refuse_the_revoked(
    authority: Authority, folder: Path, tmp_path: Path
) -> None:
    good, bad = issue(authority, tmp_path / "good.pem"), issue(authority, tmp_path / "bad.pem")
    serial = x509.load_pem_x509_certificate(bad.read_bytes()).serial_number
    lists = tmp_path / "lists.pem"
    lists.write_bytes(
        authority.crl([RevokedSerial(serial, now_us(), x509.ReasonFlags.key_compromise)], now_us=now_us())
    )
    parts = lists.read_bytes().split(b"-----END X509 CRL-----\n")
    for part, kind in zip(parts[:2], ("devices", "servers"), strict=True):
        told = openssl(
            "crl", "-noout", "-text", "-CAfile", active(folder, kind), given=part + b"-----END X509 CRL-----\n"
        )
        assert b"verify OK" in told.stderr
        assert b"X509v3 Authority Key Identifier" in told.stdout
    assert parts[2:] == [b""]
    trust = active(folder, "devices")
    assert verified(good, trust, "sslclient", "-partial_chain", "-crl_check", "-CRLfile", lists) == "ok"
    assert "revoked" in verified(bad, trust, "sslclient", "-partial_chain", "-crl_check", "-CRLfile", lists)
    chain = serve(authority, tmp_path / "chain.pem", "::1")
    root = active(folder, "root")
    assert verified(chain, root, "sslserver", "-untrusted", chain, "-crl_check", "-CRLfile", lists) == "ok"


def test_a_revocation_list_lasts_a_week_and_its_number_grows(authority: Authority) -> None:
    first, second = (x509.load_pem_x509_crl(authority.crl([], now_us=now_us() + later * 1_000_000)) for later in (0, 1))
    assert timedelta(days=7) <= (first.next_update_utc or first.last_update_utc) - first.last_update_utc
    numbers = [one.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for one in (first, second)]
    assert numbers[1] == numbers[0] + 1


def test_the_bundle_holds_every_authority_and_the_pin_is_the_roots(authority: Authority) -> None:
    bundle = [x509.load_der_x509_certificate(one) for one in authority.est_bundle_der]
    assert len(bundle) == 3
    root = x509.load_pem_x509_certificate(authority.root_pem)
    assert bundle[0] == root
    key = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert authority.root_pin == spki_pin(key)
    assert authority.device_issuer_der in authority.est_bundle_der
    assert x509.load_der_x509_certificate(authority.device_issuer_der).public_bytes(Encoding.PEM) == (
        authority.device_trust_pem
    )


def test_files_are_the_owners_alone_and_keys_open_with_openssl_and_the_secret(
    authority: Authority, folder: Path
) -> None:
    assert authority.certificates()[0].key_here
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    for path in folder.glob("*.key"):
        assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
        assert openssl("pkey", "-in", path, "-passin", "stdin", "-noout", given=SECRET + b"\n").returncode == 0
        assert openssl("pkey", "-in", path, "-passin", "stdin", "-noout", given=b"other\n").returncode != 0


def test_another_secret_a_damaged_file_and_a_missing_one_are_told_apart(authority: Authority, folder: Path) -> None:
    assert authority.organisation
    with pytest.raises(WrongSecretError, match="does not open it"):
        Authority.open(folder, SECRET[::-1])
    key = next(folder.glob("devices-*.key"))
    whole = key.read_bytes()
    key.write_bytes(whole[:-80] + bytes([whole[-80] ^ 1]) + whole[-79:])
    with pytest.raises(KeyDamagedError, match="cut or altered"):
        Authority.open(folder, SECRET)
    key.unlink()
    with pytest.raises(KeyMissingError, match="is not there"):
        Authority.open(folder, SECRET)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-9]), id="cut"),
        pytest.param(lambda path: path.write_bytes(b"{}"), id="another document"),
        pytest.param(lambda path: path.write_bytes(b"[" * 60_000), id="deep"),
        pytest.param(lambda path: path.write_bytes(b"x" * 70_000), id="large"),
        pytest.param(lambda path: path.write_text(path.read_text().replace("devices-", "../devices-")), id="path"),
        pytest.param(
            lambda path: path.write_text(path.read_text().replace('"revision": 1', '"revision": "1"')), id="type"
        ),
        pytest.param(
            lambda path: path.write_text(path.read_text().replace('"version": 1', '"version": 2')), id="version"
        ),
    ],
)
def test_a_damaged_state_is_said_and_not_guessed_around(
    authority: Authority, folder: Path, damage: Callable[[Path], object]
) -> None:
    assert authority.organisation
    damage(folder / "authority.json")
    with pytest.raises(KeyDamagedError, match=r"authority\.json"):
        Authority.open(folder, SECRET)


def test_a_certificate_that_our_root_did_not_sign_is_not_taken_for_ours(
    authority: Authority, folder: Path, tmp_path: Path
) -> None:
    assert authority.organisation
    Authority.create(tmp_path / "other", SECRET, organisation="Other", now_us=now_us())
    shutil.copyfile(active(tmp_path / "other", "devices"), active(folder, "devices"))
    with pytest.raises(KeyDamagedError, match="not signed by a root of this authority"):
        Authority.open(folder, SECRET)


def test_an_authority_is_made_once(authority: Authority, folder: Path) -> None:
    before = authority.root_pem
    with pytest.raises(AuthorityError, match="already"):
        Authority.create(folder, SECRET, organisation=ORGANISATION, now_us=now_us())
    assert Authority.open(folder, SECRET).root_pem == before


@pytest.mark.parametrize("lost", ["authority.json", "authority.json and the root's key"])
def test_a_lost_state_costs_no_key_and_the_two_ways_out_are_told(authority: Authority, folder: Path, lost: str) -> None:
    state = (folder / "authority.json").read_bytes()
    (folder / "authority.json").unlink()
    if "key" in lost:
        for key in folder.glob("root-*.key"):
            key.unlink()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for secret in (SECRET, b"another" * 8):
        with pytest.raises(AuthorityError, match=r"restore .* from a backup, or move these files elsewhere"):
            Authority.create(folder, secret, organisation=ORGANISATION, now_us=now_us())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "authority.json").write_bytes(state)
    assert Authority.open(folder, SECRET).root_pem == authority.root_pem


def test_no_authority_is_told_with_the_way_to_make_one(tmp_path: Path) -> None:
    for missing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(AuthorityError, match="lichtmast ca init"):
            Authority.open(missing, SECRET)


@pytest.mark.parametrize("organisation", ["", "x" * 65, "a\nb"])
def test_an_organisation_has_a_name(tmp_path: Path, organisation: str) -> None:
    with pytest.raises(AuthorityError, match="organisation"):
        Authority.create(tmp_path / "new", SECRET, organisation=organisation, now_us=now_us())


@pytest.mark.parametrize("secret", [b"x" * 31, b"x" * 1024])
def test_a_secret_is_neither_short_nor_longer_than_openssl_takes(tmp_path: Path, secret: bytes) -> None:
    with pytest.raises(AuthorityError, match="32 to 1023"):
        Authority.create(tmp_path / "new", secret, organisation=ORGANISATION, now_us=now_us())
    assert not (tmp_path / "new").exists()


def test_without_the_roots_key_everything_daily_works_and_rolling_says_what_it_needs(
    authority: Authority, folder: Path, tmp_path: Path
) -> None:
    safe = tmp_path / "safe"
    there = authority.take_root_offline(safe)
    assert there.parent == safe
    assert stat.S_IMODE(there.stat().st_mode) == 0o600
    assert list(folder.glob("root-*.key")) == []
    daily = Authority.open(folder, SECRET)
    assert issue(daily, tmp_path / "leaf.pem").exists()
    assert daily.issue_server(["::1"], now_us=now_us()).chain_pem
    assert daily.crl([], now_us=now_us())
    assert not daily.certificates()[0].key_here
    with pytest.raises(KeyMissingError, match="offline already"):
        daily.take_root_offline(safe)
    with pytest.raises(KeyMissingError, match="needs the root's key"):
        daily.roll_issuing(AuthorityKind.DEVICES, now_us=now_us())
    with pytest.raises(KeyMissingError, match="needs the root's key"):
        daily.roll_root(now_us=now_us())
    daily.roll_issuing(AuthorityKind.DEVICES, now_us=now_us(), root_keys=safe)
    assert list(folder.glob("root-*.key")) == []  # it was used from where it lies


def test_the_roots_key_does_not_leave_for_its_own_folder_or_a_broken_medium(
    authority: Authority, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(AuthorityError, match="elsewhere"):
        authority.take_root_offline(folder / "safe")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        authority.take_root_offline(tmp_path / "file")
    assert len(list(folder.glob("root-*.key"))) == 1


def test_a_roots_key_that_reads_back_otherwise_is_not_removed(
    authority: Authority, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Path.rename

    def spoil(path: Path, target: Path) -> Path:
        if target.parent == tmp_path / "safe" and target.suffix == ".key":
            path.write_bytes(path.read_bytes().replace(b"\nM", b"\nN", 1))
        return kept(path, target)

    monkeypatch.setattr(Path, "rename", spoil)
    with pytest.raises(KeyDamagedError):
        authority.take_root_offline(tmp_path / "safe")
    assert len(list(folder.glob("root-*.key"))) == 1


def test_two_processes_do_not_change_it_on_top_of_each_other(authority: Authority, folder: Path) -> None:
    other = Authority.open(folder, SECRET)
    other.roll_issuing(AuthorityKind.DEVICES, now_us=now_us())
    assert authority.changed_on_disk()
    assert not other.changed_on_disk()
    with pytest.raises(AuthorityError, match="another process"):
        authority.roll_issuing(AuthorityKind.DEVICES, now_us=now_us())
    assert len(list(folder.glob("devices-*.pem"))) == 2
