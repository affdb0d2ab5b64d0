"""Roll-over: nobody loses trust while it lasts, and a kill between any two steps leaves a working authority."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from authority_parts import DAY_US, DEVICE, SECRET, new_authority, now_us, p256, spki, verified
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lichtmast.registry.pki import Authority, AuthorityError, AuthorityKind, device_of_certificate, new_serial

pytestmark = pytest.mark.system  # openssl

DEVICES, SERVERS, ROOT = AuthorityKind.DEVICES, AuthorityKind.SERVERS, AuthorityKind.ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "authority"


@pytest.fixture
def authority(folder: Path) -> Authority:
    return new_authority(folder)


def leaf(authority: Authority, path: Path) -> Path:
    der = authority.issue_device(DEVICE, spki(p256()), serial=new_serial(), now_us=now_us())
    path.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    return path


def written(path: Path, pem: bytes) -> Path:
    path.write_bytes(pem)
    return path


def between(authority: Authority, path: Path) -> Path:
    """What the bundle has to lead from one certificate to another, without the roots."""
    certificates = [x509.load_der_x509_certificate(one) for one in authority.est_bundle_der]
    return written(path, b"".join(one.public_bytes(Encoding.PEM) for one in certificates if one.issuer != one.subject))


def roles(authority: Authority) -> list[tuple[str, bool]]:
    return [(one.role, one.signs) for one in authority.certificates()]


def test_both_device_authorities_are_trusted_until_the_last_certificate_of_the_old_one_has_ended(
    authority: Authority, tmp_path: Path
) -> None:
    old = leaf(authority, tmp_path / "old.pem")
    at_us = now_us()
    authority.roll_issuing(DEVICES, now_us=at_us)
    new = leaf(authority, tmp_path / "new.pem")
    both = written(tmp_path / "both.pem", authority.device_trust_pem)
    assert [verified(one, both, "sslclient", "-partial_chain") for one in (old, new)] == ["ok", "ok"]
    assert roles(authority) == [("root", True), ("devices", False), ("devices", True), ("servers", True)]
    assert len(authority.crl([], now_us=at_us).split(b"END X509 CRL")) == 1 + 3

    assert not authority.forget_ended(now_us=at_us + 90 * DAY_US - 1)
    ends_us = device_of_certificate(x509.load_pem_x509_certificate(old.read_bytes()).public_bytes(Encoding.DER))
    assert ends_us.not_after_us <= at_us + 90 * DAY_US
    assert authority.forget_ended(now_us=at_us + 90 * DAY_US)
    one = written(tmp_path / "one.pem", authority.device_trust_pem)
    assert verified(new, one, "sslclient", "-partial_chain") == "ok"
    assert "issuer" in verified(old, one, "sslclient", "-partial_chain")


def test_what_ended_is_gone_from_the_disk_with_its_key(authority: Authority, folder: Path) -> None:
    for kind in (DEVICES, SERVERS):
        authority.roll_issuing(kind, now_us=now_us())
    assert len(list(folder.glob("*.key"))) == 5
    assert authority.forget_ended(now_us=now_us() + 91 * DAY_US)
    assert len(list(folder.glob("*.key"))) == len(list(folder.glob("*.pem"))) == 3
    assert roles(Authority.open(folder, SECRET)) == [("root", True), ("devices", True), ("servers", True)]


def test_a_stolen_device_authority_is_dropped_at_once(authority: Authority, folder: Path, tmp_path: Path) -> None:
    old = leaf(authority, tmp_path / "old.pem")
    authority.roll_issuing(DEVICES, now_us=now_us(), distrust_old=True)
    trust = written(tmp_path / "trust.pem", authority.device_trust_pem)
    assert "issuer" in verified(old, trust, "sslclient", "-partial_chain")
    assert verified(leaf(authority, tmp_path / "new.pem"), trust, "sslclient", "-partial_chain") == "ok"
    assert len(list(folder.glob("devices-*"))) == 2
    with pytest.raises(AuthorityError, match="Roll the root over"):
        authority.roll_issuing(SERVERS, now_us=now_us(), distrust_old=True)


def test_a_root_is_not_rolled_like_the_others(authority: Authority) -> None:
    with pytest.raises(AuthorityError, match="roll_root"):
        authority.roll_issuing(ROOT, now_us=now_us())


def test_an_authority_asks_to_be_rolled_a_year_before_its_end(authority: Authority) -> None:
    ends_us = authority.certificates()[1].not_after_us
    assert authority.roll_due(ends_us - 366 * DAY_US) == []
    assert authority.roll_due(ends_us - 364 * DAY_US) == [DEVICES, SERVERS]


def test_after_a_new_root_every_node_trusts_the_server_whichever_root_it_pinned(
    authority: Authority, tmp_path: Path
) -> None:
    roots, chains = [authority.root_pem], [authority.issue_server(["::1"], now_us=now_us()).chain_pem]
    device = leaf(authority, tmp_path / "old-device.pem")
    for _ in range(2):
        authority.roll_root(now_us=now_us())
        roots.append(authority.root_pem)
        chains.append(authority.issue_server(["::1"], now_us=now_us()).chain_pem)
    lead = between(authority, tmp_path / "between.pem")
    files = [written(tmp_path / f"root-{number}.pem", pem) for number, pem in enumerate(roots)]
    shown = [written(tmp_path / f"chain-{number}.pem", pem) for number, pem in enumerate(chains)]
    # A node that pinned any root trusts the server that is now, by what the server itself shows.
    assert [verified(shown[2], root, "sslserver", "-untrusted", shown[2]) for root in files] == ["ok"] * 3
    ordered = x509.load_pem_x509_certificates(chains[2])
    assert [one.issuer for one in ordered[:-1]] == [one.subject for one in ordered[1:]]  # RFC 5246 section 7.4.2
    # One that pinned a new root trusts a server that still shows what was issued under the old one, by the bundle.
    assert verified(shown[1], files[2], "sslserver", "-untrusted", lead) == "ok"
    trust = written(tmp_path / "trust.pem", authority.device_trust_pem)
    assert verified(device, trust, "sslclient", "-partial_chain") == "ok"
    assert verified(leaf(authority, tmp_path / "new.pem"), trust, "sslclient", "-partial_chain") == "ok"


def test_the_bundle_of_a_new_root_leads_from_the_old_one_to_it(authority: Authority) -> None:
    old = x509.load_pem_x509_certificate(authority.root_pem)
    authority.roll_root(now_us=now_us())
    new = x509.load_pem_x509_certificate(authority.root_pem)
    certificates = [x509.load_der_x509_certificate(one) for one in authority.est_bundle_der]
    assert certificates[:2] == [new, old]
    (new_with_old,) = (one for one in certificates if one.subject == new.subject and one.issuer == old.subject)
    (old_with_new,) = (one for one in certificates if one.subject == old.subject and one.issuer == new.subject)
    new_with_old.verify_directly_issued_by(old)
    old_with_new.verify_directly_issued_by(new)
    assert new_with_old.public_key() == new.public_key()
    assert new_with_old.not_valid_after_utc == old.not_valid_after_utc
    assert (old_with_new.not_valid_after_utc - old_with_new.not_valid_before_utc).days == 90


def test_an_old_root_is_forgotten_when_it_has_ended_and_its_key_at_once(authority: Authority, folder: Path) -> None:
    old = authority.certificates()[0]
    authority.roll_root(now_us=now_us())
    assert len(list(folder.glob("root-*.key"))) == 1
    ended = [("root", False), ("root", True), ("devices", True), ("servers", True), ("cross", False)]
    assert authority.forget_ended(now_us=now_us() + 91 * DAY_US)  # the old one by the new one, and both below the old
    assert roles(authority) == ended
    assert authority.forget_ended(now_us=old.not_after_us)
    assert [role for role, _ in roles(authority)] == ["root", "devices", "servers"]
    Authority.open(folder, SECRET)


class Killed(BaseException):
    """The process ends here: nothing of it runs any more."""


@contextmanager
def killed_at(step: int) -> Iterator[list[str]]:
    """Die before the n-th thing that is done to the disk; what was done is listed."""
    steps: list[str] = []
    patched = pytest.MonkeyPatch()

    def counted(what: str, do: Callable[..., object]) -> Callable[..., object]:
        def act(*arguments: object, **options: object) -> object:
            if len(steps) == step:
                raise Killed
            steps.append(what)
            return do(*arguments, **options)

        return act

    patched.setattr(os, "fsync", counted("sync", os.fsync))
    for what in ("rename", "unlink"):
        patched.setattr(Path, what, counted(what, getattr(Path, what)))
    try:
        yield steps
    finally:
        patched.undo()


CHANGES: dict[str, Callable[[Authority], object]] = {
    "issuing": lambda authority: authority.roll_issuing(DEVICES, now_us=now_us()),
    "distrust": lambda authority: authority.roll_issuing(DEVICES, now_us=now_us(), distrust_old=True),
    "root": lambda authority: authority.roll_root(now_us=now_us()),
    "forget": lambda authority: authority.forget_ended(now_us=now_us() + 91 * DAY_US),
    "offline": lambda authority: authority.take_root_offline(authority._folder.parent / "safe"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_between_any_two_steps_leaves_the_authority_of_before_or_after(tmp_path: Path, change: str) -> None:
    seen = set()
    for step in range(100):
        folder = tmp_path / f"{step}" / "authority"
        authority = new_authority(folder)
        if change == "forget":
            authority.roll_issuing(DEVICES, now_us=now_us())
        before = set(authority.est_bundle_der)
        try:
            with killed_at(step) as steps:
                CHANGES[change](authority)
        except Killed:
            pass
        survived = Authority.open(folder, SECRET)
        seen.add(set(survived.est_bundle_der) == before)
        leaf(survived, folder.parent / "leaf.pem")
        trust = written(folder.parent / "trust.pem", survived.device_trust_pem)
        assert verified(folder.parent / "leaf.pem", trust, "sslclient", "-partial_chain") == "ok"
        chain = written(folder.parent / "chain.pem", survived.issue_server(["::1"], now_us=now_us()).chain_pem)
        root = written(folder.parent / "root.pem", survived.root_pem)
        assert verified(chain, root, "sslserver", "-untrusted", chain) == "ok"
        roll_again(survived, folder)
        if len(steps) < step:
            break
    assert step > 5, "it did less to the disk than it must"
    assert seen == {True} if change == "offline" else seen == {True, False}


def roll_again(survived: Authority, folder: Path) -> None:
    """The next change goes through, and clears away what the kill left; the root's key is at hand somewhere."""
    safe = folder.parent / "safe"
    survived.roll_issuing(SERVERS, now_us=now_us(), root_keys=None if list(folder.glob("root-*.key")) else safe)
    names = set(survived._state.certificate_names())
    assert {path.stem for path in folder.iterdir() if path.suffix == ".pem"} == names
    assert {path.stem for path in folder.iterdir() if path.suffix == ".key"} <= names
    assert list(folder.glob("*.draft")) == []


@pytest.mark.slow
def test_a_kill_while_it_is_made_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    made = set()
    for step in range(100):
        folder = tmp_path / f"{step}" / "authority"
        try:
            with killed_at(step) as steps:
                Authority.create(folder, SECRET, organisation="x", now_us=now_us())
        except Killed:
            pass
        is_made = Authority.is_made(folder)
        made.add(is_made)
        if not is_made:
            with pytest.raises(AuthorityError, match="lichtmast ca init"):
                Authority.open(folder, SECRET)
            Authority.create(folder, SECRET, organisation="x", now_us=now_us())
        Authority.open(folder, SECRET)
        assert is_made or len(list(folder.iterdir())) == 7  # what the kill left is cleared away
        if len(steps) < step:
            break
    assert made == {True, False}
