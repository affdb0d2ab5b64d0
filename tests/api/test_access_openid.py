"""What an identity token must be: everything else that a provider, or somebody in its place, could send is refused."""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from people_town import NOW_US

from lichtmast.api.access.limits import OPENID_ANSWER_BYTES_MAX, OPENID_KEYS_EVERY_S
from lichtmast.api.access.openid import Identity, OpenIdError, OpenIdProvider, OpenIdSettings, new_round

ISSUER = "https://id.example"
SETTINGS = OpenIdSettings(ISSUER, "lichtmast", "secret", {"tid": ("hilversum",)})
BACK = "https://lichtmast.example/sign-in/openid/callback"
TRIP = new_round("/account", NOW_US)
NOW_S = NOW_US // 1_000_000
RSA = RSAKey.generate_key(2048, {"kid": "r1", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "e1", "use": "sig"})
CLAIMS: dict[str, Any] = {
    "iss": ISSUER, "aud": "lichtmast", "sub": "s1", "exp": NOW_S + 300, "iat": NOW_S, "nonce": TRIP.nonce,
    "tid": "hilversum", "email": "anna@example.nl", "email_verified": True, "amr": ["pwd", "mfa"],
}  # fmt: skip


@dataclass
class Provider:
    """Answers as a provider would; `token` is what it hands out."""

    token: str = ""
    keys: list[Any] = field(default_factory=lambda: [RSA.as_dict(private=False), EC.as_dict(private=False)])
    document: dict[str, Any] = field(
        default_factory=lambda: {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
        }
    )
    asked: list[str] = field(default_factory=list)
    user: dict[str, Any] = field(default_factory=dict)
    now_us: int = NOW_US

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url.path)
        answers = {
            "/.well-known/openid-configuration": self.document,
            "/keys": {"keys": self.keys},
            "/token": {"id_token": self.token, "access_token": "at"},
            "/user": self.user,
        }
        return httpx2.Response(200, json=answers[request.url.path])

    def ask(self, settings: OpenIdSettings = SETTINGS) -> OpenIdProvider:
        return OpenIdProvider(settings, lambda: self.now_us, httpx2.MockTransport(self))


def signed(claims: Mapping[str, Any], key: Any = RSA, alg: str = "RS256") -> str:  # noqa: ANN401 - any kind of key
    header = {"alg": alg, "kid": key.kid}
    return jwt.encode(header, dict(claims), key, algorithms=[alg])


def identity(provider: Provider, **answer: str) -> Identity:
    given = {"code": "c1", "state": TRIP.state, **answer}
    return asyncio.run(provider.ask().identity(given, TRIP, BACK))


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS256"), (EC, "ES256")], ids=["RS256", "ES256"])
def test_a_good_token_says_who_it_is(key: Any, alg: str) -> None:  # noqa: ANN401 - any kind of key
    found = identity(Provider(signed(CLAIMS, key, alg)))
    assert found == Identity(ISSUER, "s1", "anna@example.nl", strong=True)


WRONG: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "for somebody else": {"aud": "other"},
    "for nobody": {"aud": []},
    "for several, asked by another": {"aud": ["lichtmast", "other"], "azp": "other"},
    "for several, asked by nobody": {"aud": ["lichtmast", "other"]},
    "expired": {"exp": NOW_S - 61},
    "without an end": {"exp": None},
    "an end that is text": {"exp": "tomorrow"},
    "of the future": {"iat": NOW_S + 61},
    "another trip's": {"nonce": "x"},
    "without a nonce": {"nonce": None},
    "about nobody": {"sub": ""},
    "about somebody with a long name": {"sub": "x" * 256},
    "another organisation": {"tid": "edam"},
    "no organisation": {"tid": None},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_token_that_is_not_for_us_here_and_now_is_refused(wrong: dict[str, Any]) -> None:
    claims = {name: value for name, value in {**CLAIMS, **wrong}.items() if value is not None}
    with pytest.raises(OpenIdError):
        identity(Provider(signed(claims)))


def unsigned(alg: str) -> str:
    parts = [{"alg": alg, "kid": "r1"}, CLAIMS]
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts) + "."


def test_a_token_that_nobody_or_somebody_else_signed_is_refused() -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "r1"})
    public = RSA.as_pem(private=False)
    shared = OctKey.import_key(public.hex())
    confused = jwt.encode({"alg": "HS256", "kid": "r1"}, CLAIMS, shared, algorithms=["HS256"])
    good = signed(CLAIMS)
    head, body, signature = good.split(".")
    forged = body[:-2] + ("AA" if not body.endswith("AA") else "BB")
    others = [signed(CLAIMS, alg=alg) for alg in ("RS512", "PS256")]
    changed = f"{head}.{forged}.{signature}"
    for token in (unsigned("none"), unsigned("RS256"), signed(CLAIMS, stranger), confused, changed, *others, "", "x"):
        with pytest.raises(OpenIdError):
            identity(Provider(token))


@pytest.mark.parametrize(
    "answer", [{"state": "x"}, {"state": ""}, {"code": ""}, {"error": "access_denied"}, {"iss": "https://evil.example"}]
)
def test_an_answer_that_is_not_this_trips_is_refused_before_anything_is_asked(answer: dict[str, str]) -> None:
    provider = Provider(signed(CLAIMS))
    with pytest.raises(OpenIdError):
        identity(provider, **answer)
    assert provider.asked == []


def test_a_trip_ends_after_ten_minutes() -> None:
    provider = Provider(signed(CLAIMS), now_us=NOW_US + 601 * 1_000_000)
    with pytest.raises(OpenIdError, match="too long"):
        identity(provider)


def test_an_address_counts_only_where_it_is_verified_and_mfa_only_where_it_was_shown() -> None:
    for verified in (False, "true", None):
        claims = {**CLAIMS, "email_verified": verified, "amr": ["pwd"]}
        assert identity(Provider(signed(claims))) == Identity(ISSUER, "s1", None, strong=False)


def test_user_information_is_believed_about_the_same_person_only() -> None:
    claims = {name: value for name, value in CLAIMS.items() if not name.startswith("email")}
    provider = Provider(signed(claims))
    provider.document["userinfo_endpoint"] = f"{ISSUER}/user"
    provider.user = {"sub": "s1", "email": "anna@example.nl", "email_verified": True, "tid": "edam"}
    assert identity(provider).email == "anna@example.nl"
    provider.user["sub"] = "s2"
    with pytest.raises(OpenIdError, match="somebody else"):
        identity(provider)


def test_a_new_key_of_the_provider_is_fetched_but_not_for_every_bad_token() -> None:
    provider = Provider(signed(CLAIMS))
    asker = provider.ask()
    answer = {"code": "c1", "state": TRIP.state}
    asyncio.run(asker.identity(answer, TRIP, BACK))
    fresh = RSAKey.generate_key(2048, {"kid": "r2", "use": "sig"})
    provider.token, provider.keys = signed(CLAIMS, fresh), [fresh.as_dict(private=False)]
    for _ in range(5):
        with pytest.raises(OpenIdError):
            asyncio.run(asker.identity(answer, TRIP, BACK))
    assert provider.asked.count("/keys") == 1
    provider.now_us += OPENID_KEYS_EVERY_S * 1_000_000
    assert asyncio.run(asker.identity(answer, TRIP, BACK)).subject == "s1"
    assert provider.asked.count("/keys") == 2


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://id.example/token"},
        {"jwks_uri": ""},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"padding": "x" * OPENID_ANSWER_BYTES_MAX},
    ],
    ids=str,
)
def test_a_description_that_is_not_the_providers_is_refused(document: dict[str, str]) -> None:
    provider = Provider()
    provider.document |= document
    with pytest.raises(OpenIdError):
        asyncio.run(provider.ask().address(TRIP, BACK))


def test_settings_that_cannot_work_are_refused() -> None:
    wrongs: list[dict[str, Any]] = [{"issuer": "http://id.example"}, {"issuer": f"{ISSUER}?x"}, {"client_id": ""}]
    for wrong in [*wrongs, {"client_secret": ""}]:
        with pytest.raises(ValueError, match=r"issuer|provider"):
            replace(SETTINGS, **wrong)
    assert "secret" not in repr(SETTINGS).replace("client_secret", "")
