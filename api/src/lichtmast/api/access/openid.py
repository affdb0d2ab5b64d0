"""OpenID Connect as a relying party: authorization code with PKCE S256, state, nonce, and keys that rotate.

A provider says who somebody is, never what they may: it makes no account and no role. Tokens are signed with RS256 or
ES256 and with nothing else. RFC 9700 (best current practice) and OpenID Connect Core 1.0 section 3.1.3.7.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from typing import Any, Final, cast
from urllib.parse import urlencode, urlsplit

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from lichtmast.api.access import limits

ALGORITHMS: Final = ("RS256", "ES256")
_KEY_KINDS: Final = frozenset({"RSA", "EC"})
_SUBJECT_CHARACTERS_MAX: Final = 255
_FORM: Final = {"Accept": "application/json"}


class OpenIdError(RuntimeError):
    """The provider could not be asked, or what came back is not to be believed; the text is for the log."""


@dataclass(frozen=True, slots=True)
class OpenIdSettings:
    """One provider. Raises ValueError.

    `claims` is the allow-list of the operator's organisation, such as {"tid": ("…",)}: a token must have one of the
    values of each. `strong` are the values of `amr` (RFC 8176) that stand for a second factor shown at the provider.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    claims: Mapping[str, tuple[str, ...]]
    strong: frozenset[str] = frozenset({"mfa"})

    def __post_init__(self) -> None:
        parts = urlsplit(self.issuer)
        if parts.query or parts.fragment or not (parts.scheme == "https" or self.issuer.startswith("http://[::1]")):
            raise ValueError(f"issuer {self.issuer[:100]!r} is no https address")
        if not self.client_id or not self.client_secret:
            raise ValueError("a provider needs the client id and the client secret that it gave you")


@dataclass(frozen=True, slots=True)
class Round:
    """What must come back from one trip to the provider; the browser carries it, sealed."""

    state: str
    nonce: str
    verifier: str
    next: str
    begun_us: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says it is. `email` only where the provider verified it."""

    issuer: str
    subject: str
    email: str | None
    strong: bool


def new_round(next_path: str, now_us: int) -> Round:
    """A trip with secrets of its own."""
    return Round(token_urlsafe(32), token_urlsafe(32), token_urlsafe(48), next_path, now_us)


class OpenIdProvider:
    """One provider, asked over HTTPS; `transport` is for laboratories."""

    def __init__(
        self,
        settings: OpenIdSettings,
        clock_us: Callable[[], int],
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._clock_us = clock_us
        self._transport = transport
        self._document: dict[str, Any] | None = None
        self._keys: list[dict[str, Any]] = []
        self._keys_at_us: int | None = None

    async def address(self, trip: Round, redirect_uri: str) -> str:
        """Where to send the browser. Raises OpenIdError."""
        document = await self._discovered()
        challenge = urlsafe_b64encode(sha256(trip.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid email",
            "state": trip.state,
            "nonce": trip.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = str(document["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def identity(self, answer: Mapping[str, str], trip: Round, redirect_uri: str) -> Identity:
        """Who came back. Raises OpenIdError, whatever is wrong."""
        now_us = self._clock_us()
        if not compare_digest(answer.get("state", "").encode(), trip.state.encode()):
            raise OpenIdError("the state is not the one of this browser's trip")
        if not 0 <= now_us - trip.begun_us <= limits.OPENID_ROUND_S * 1_000_000:
            raise OpenIdError("the trip took too long")
        if answer.get("iss", self._settings.issuer) != self._settings.issuer:  # RFC 9207
            raise OpenIdError("the answer is another issuer's")
        if "error" in answer or not answer.get("code"):
            raise OpenIdError("the provider answered with an error, or without a code")
        document = await self._discovered()
        tokens = await self._fetch(
            "POST",
            str(document["token_endpoint"]),
            data={
                "grant_type": "authorization_code",
                "code": answer["code"],
                "redirect_uri": redirect_uri,
                "code_verifier": trip.verifier,
            },
            auth=httpx2.BasicAuth(self._settings.client_id, self._settings.client_secret),
        )
        claims = await self._verified(str(tokens.get("id_token", "")), trip.nonce)
        if "email" not in claims and "userinfo_endpoint" in document and "access_token" in tokens:
            bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
            more = await self._fetch("GET", str(document["userinfo_endpoint"]), headers=bearer)
            if more.get("sub") != claims["sub"]:  # OpenID Connect Core section 5.3.2
                raise OpenIdError("the user information is about somebody else")
            claims = {**more, **claims}
        return self._identity_of(claims)

    def _identity_of(self, claims: Mapping[str, Any]) -> Identity:
        for name, allowed in self._settings.claims.items():
            given = claims.get(name)
            values = given if isinstance(given, list) else [given]
            if not any(one in allowed for one in values):
                raise OpenIdError(f"the claim {name} is not of the operator's organisation")
        email = claims.get("email") if claims.get("email_verified") is True else None
        methods = claims.get("amr")
        strong = isinstance(methods, list) and any(one in self._settings.strong for one in methods)
        return Identity(self._settings.issuer, str(claims["sub"]), email if isinstance(email, str) else None, strong)

    async def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        """The claims of an identity token that is the provider's, for us, for this trip, and now."""
        claims = await self._signed(token)
        now_s, aside_s = self._clock_us() // 1_000_000, limits.OPENID_CLOCK_ASIDE_S
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        expires, issued, subject = claims.get("exp"), claims.get("iat"), claims.get("sub")
        if claims.get("iss") != self._settings.issuer:
            raise OpenIdError("the token is another issuer's")
        if self._settings.client_id not in audiences:
            raise OpenIdError("the token is for somebody else")
        if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != self._settings.client_id:
            raise OpenIdError("the token was asked for by somebody else")
        if not isinstance(expires, int | float) or now_s >= expires + aside_s:
            raise OpenIdError("the token has expired")
        if not isinstance(issued, int | float) or issued > now_s + aside_s:
            raise OpenIdError("the token is of the future")
        if not isinstance(claims.get("nonce"), str) or not compare_digest(claims["nonce"].encode(), nonce.encode()):
            raise OpenIdError("the token is of another trip")
        if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_CHARACTERS_MAX:
            raise OpenIdError("the token names nobody")
        return claims

    async def _signed(self, token: str) -> dict[str, Any]:
        """The claims, where a key of the provider signed them; a key that is not known makes us ask, now and then."""
        for fresh in (False, True):
            keys = await self._known_keys(fresh=fresh)
            try:
                return dict(jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims)
            except (JoseError, ValueError, TypeError) as error:
                if fresh:
                    raise OpenIdError("no key of the provider signed the token with RS256 or ES256") from error
        raise OpenIdError("no key of the provider signed the token")

    async def _known_keys(self, *, fresh: bool) -> KeySet:
        now_us = self._clock_us()
        kept_s = limits.OPENID_KEYS_EVERY_S if fresh else limits.OPENID_KEYS_KEPT_S
        if self._keys_at_us is None or now_us - self._keys_at_us >= kept_s * 1_000_000:
            document = await self._fetch("GET", str((await self._discovered())["jwks_uri"]))
            found = document.get("keys")
            if not isinstance(found, list):
                raise OpenIdError("the provider's keys are not a list")
            self._keys = [
                one
                for one in found
                if isinstance(one, dict) and one.get("kty") in _KEY_KINDS and one.get("use", "sig") == "sig"
            ]
            self._keys_at_us = now_us
        try:
            return KeySet.import_key_set({"keys": cast("Any", self._keys)})
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise OpenIdError("the provider's keys cannot be read") from error

    async def _discovered(self) -> dict[str, Any]:
        """The provider's own description (OpenID Connect Discovery 1.0 section 4), read once."""
        if self._document is None:
            document = await self._fetch("GET", f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
            if document.get("issuer") != self._settings.issuer:
                raise OpenIdError("the provider calls itself by another name")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                address = str(document.get(name, ""))
                if not (address.startswith("https://") or self._settings.issuer.startswith("http://[::1]")):
                    raise OpenIdError(f"the provider's {name} is no https address")
            self._document = document
        return self._document

    async def _fetch(self, method: str, address: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - options of httpx
        """JSON of the provider, of a size that is sane. No redirects, no proxies."""
        text = b""
        try:
            async with (
                httpx2.AsyncClient(
                    timeout=limits.OPENID_TIMEOUT_S, trust_env=False, follow_redirects=False, transport=self._transport
                ) as client,
                client.stream(method, address, **{"headers": _FORM, **options}) as response,
            ):
                async for chunk in response.aiter_bytes():
                    text += chunk
                    if len(text) > limits.OPENID_ANSWER_BYTES_MAX:
                        raise OpenIdError("the provider's answer is too long")
                if response.status_code != httpx2.codes.OK:
                    raise OpenIdError(f"the provider answered {response.status_code} to {urlsplit(address).path}")
            document = json.loads(text)
        except (httpx2.HTTPError, ValueError, RecursionError) as error:
            raise OpenIdError(f"the provider does not answer as it should at {urlsplit(address).path}") from error
        if not isinstance(document, dict):
            raise OpenIdError("the provider's answer is no JSON object")
        return document
