"""The file that names a provider of OpenID Connect: read strictly, and the secret from a file of its own."""

from pathlib import Path

import pytest

from lichtmast.suite.errors import SuiteError
from lichtmast.suite.openid_file import read_openid

SOUND = """
issuer = "https://login.example.nl"
client_id = "lichtmast"
client_secret_file = "secret"
[claims]
tid = ["8d3f"]
"""


def written(folder: Path, text: str) -> Path:
    (folder / "secret").write_text("open sesame\n")
    path = folder / "openid.toml"
    path.write_text(text)
    return path


def test_a_sound_file_gives_the_provider_and_the_secret_stays_out_of_its_repr(tmp_path: Path) -> None:
    read = read_openid(written(tmp_path, SOUND))
    assert (read.issuer, read.client_id, read.client_secret) == ("https://login.example.nl", "lichtmast", "open sesame")
    assert (read.claims, read.strong) == ({"tid": ("8d3f",)}, frozenset({"mfa"}))
    assert "sesame" not in repr(read)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("https:", "http:"), "no https address"),
        (('client_id = "lichtmast"', ""), "client_id is missing"),
        (('client_id = "lichtmast"', "client_id = 7"), "client_id is missing or no text"),
        (('"secret"', '"gone"'), "cannot be read"),
        (('["8d3f"]', '"8d3f"'), "lists of text"),
        (("[claims]", 'client_secret = "open"\n[claims]'), "unknown: client_secret"),
        (("[claims]", "[claims"), "openid.toml"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    with pytest.raises(SuiteError, match=told):
        read_openid(written(tmp_path, SOUND.replace(*change)))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="cannot be read"):
        read_openid(tmp_path / "openid.toml")
