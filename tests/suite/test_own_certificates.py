"""The server's own certificates follow the authority, through files that vanish and disks that are full."""

from pathlib import Path

import pytest
from cryptography import x509

from lichtmast.registry.pki import Authority, AuthorityError, AuthorityKind
from lichtmast.suite import own_certificates
from lichtmast.suite.clock import now_us
from lichtmast.suite.folder import Folder
from lichtmast.suite.own_certificates import OwnCertificates
from lichtmast.suite.unlock import unlock_secret


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def mine(folder: Folder) -> OwnCertificates:
    return OwnCertificates(folder, unlock_secret(folder), ["::1"], chance=0.5)


def roll(folder: Folder) -> None:
    """As another process does it: `lichtmast ca roll servers`."""
    authority = Authority.open(folder.authority, unlock_secret(folder))
    authority.roll_issuing(AuthorityKind.SERVERS, now_us=now_us())


def issuer_of(mine: OwnCertificates) -> x509.Name:
    return x509.load_pem_x509_certificates(mine.certificate.read_bytes())[0].issuer


def test_an_authority_that_vanishes_while_running_is_never_made_anew(
    folder: Folder, mine: OwnCertificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = mine.certificate.read_bytes()
    folder.authority.rename(folder.path / "elsewhere")  # as while a backup is put back
    with pytest.raises(AuthorityError):
        mine.refresh(now_us())
    monkeypatch.setattr(Authority, "changed_on_disk", lambda _: True)  # it vanishes after that was asked
    with pytest.raises(AuthorityError):
        mine.refresh(now_us())
    assert not Authority.is_made(folder.authority)
    assert mine.certificate.read_bytes() == before


def test_certificates_that_could_not_be_written_after_a_roll_over_are_written_at_the_next_look(
    folder: Folder, mine: OwnCertificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = issuer_of(mine)
    roll(folder)

    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(own_certificates, "_replace", full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                mine.refresh(now_us())
    assert issuer_of(mine) == old
    assert mine.refresh(now_us())
    assert issuer_of(mine) != old
    assert not mine.refresh(now_us()), "written once is enough"
