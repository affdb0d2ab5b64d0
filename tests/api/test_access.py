"""Signing in over HTTP: cookies, throttles, tokens, forms of other sites, and what a page does without a script."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from access_town import ORIGIN, OWN_PAGE, AccessTown, Client, access_town
from people_town import ELSEWHERE, HERE, PASSWORD, THERE, Person

from lichtmast.api.access.limits import BODY_BYTES_MAX, KNOCK_NETWORK_BURST
from lichtmast.api.access.pages import own_path
from lichtmast.api.access.texts import OWN_KEYS, PEOPLE_TEXTS
from lichtmast.registry.auditing import LOCAL_COMMAND
from lichtmast.registry.people import EVERY_TENANT, Grant, Role

ENGINEER = Grant(HERE, Role.ENGINEER)
ADMIN = Grant(HERE, Role.ADMIN)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

pytestmark = pytest.mark.slow  # an application and a register of its own for each


@pytest.fixture
def access(tmp_path: Path) -> Iterator[AccessTown]:
    with access_town(tmp_path) as opened:
        yield opened


def sign_in(client: Client, person: Person, **more: str) -> int:
    return client.post("/v1/session", json={"login": person.login, "password": PASSWORD, **more}).status_code


# Sessions and their cookie.


def test_the_cookie_is_out_of_reach_of_scripts_other_sites_and_plain_http(access: AccessTown) -> None:
    anna = access.town.person(ENGINEER)
    client = access.client()
    document = {"login": anna.login, "password": PASSWORD, "code": access.town.next_code(anna)}
    cookie = client.post("/v1/session", json=document).headers["set-cookie"]
    assert cookie.startswith("__Host-lichtmast=")
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= {one.strip() for one in cookie.split(";")}
    assert "Domain" not in cookie


def test_on_loopback_over_http_the_cookie_has_a_plain_name(access: AccessTown) -> None:
    anna = access.town.person(second_factor=False)
    client = Client(access.build(public_url=None), base="http://[::1]:8080")
    response = client.post("/v1/session", json={"login": anna.login, "password": PASSWORD})
    assert response.headers["set-cookie"].startswith("lichtmast=")
    assert "Secure" not in response.headers["set-cookie"]
    assert client.get("/v1/session").json()["login"] == anna.login


def test_a_login_without_its_second_factor_is_refused(access: AccessTown) -> None:
    anna = access.town.person(ENGINEER)
    client = access.client()
    refused = client.post("/v1/session", json={"login": anna.login, "password": PASSWORD})
    assert (refused.status_code, refused.json()["reason"]) == (401, "code_needed")
    assert client.cookies == {}
    assert sign_in(client, anna, code=access.town.next_code(anna)) == 201


def test_an_engineer_who_has_no_second_factor_yet_can_only_set_one_up(access: AccessTown) -> None:
    anna = access.town.person(ENGINEER, Grant(HERE, Role.VIEWER), second_factor=False)
    client = access.signed_in(anna)
    refused = client.post("/v1/claims", json={})
    assert (refused.status_code, "second factor" in refused.json()["detail"]) == (403, True)
    offer = client.post("/v1/account/totp").json()
    anna.seed = offer["secret"]
    document = {"offer": offer["offer"], "code": access.town.code(anna)}
    assert client.post("/v1/account/totp/confirmation", json=document).status_code == 204
    assert client.get("/v1/session").json()["secondFactor"] is True
    assert client.post("/v1/claims", json={}).status_code == 400, "now it is read"


def test_a_stolen_cookie_is_worth_nothing_after_signing_out(access: AccessTown) -> None:
    owner = access.signed_in(access.town.person(ENGINEER))
    thief = access.client(ELSEWHERE)
    thief.cookies = dict(owner.cookies)
    assert thief.get("/v1/session").status_code == 200
    assert owner.ask("DELETE", "/v1/session").status_code == 204
    assert thief.get("/v1/session").status_code == 401


def test_ending_all_sessions_ends_the_stolen_one_and_the_replayed_cookie_stays_dead(access: AccessTown) -> None:
    anna = access.town.person(ENGINEER)
    first, second = access.signed_in(anna), access.signed_in(anna)
    stolen = dict(first.cookies)
    assert len(second.get("/v1/account/sessions").json()["value"]) == 3, "the one of the set-up too"
    assert second.ask("DELETE", "/v1/account/sessions").status_code == 204
    first.cookies = stolen
    assert first.get("/v1/session").status_code == 401


def test_credentials_change_only_soon_after_signing_in(access: AccessTown) -> None:
    client = access.signed_in(access.town.person(ENGINEER))
    access.town.later(15 * 60)
    for method, path in (("PUT", "password"), ("POST", "totp"), ("DELETE", "totp"), ("POST", "recovery-codes"),
                         ("POST", "tokens"), ("POST", "passkey-challenge")):  # fmt: skip
        response = client.ask(method, f"/v1/account/{path}")
        assert (response.status_code, "recent" in response.json()["detail"]) == (403, True), path
    assert client.get("/v1/account").status_code == 200


# Guessing.

DEFAULT_LOGINS = ("admin", "root", "lichtmast", "user", "guest")
DEFAULT_PASSWORDS = (
    "",
    "admin",
    "root",
    "password",
    "123456",
    "changeme",
    "lichtmast",
    "default",
    "guest",
    "admin1234",
)


@pytest.mark.parametrize("accounts", [(), DEFAULT_LOGINS], ids=["nobody has an account", "and everybody has"])
def test_fifty_default_passwords_open_nothing(access: AccessTown, accounts: tuple[str, ...]) -> None:
    for login in accounts:
        access.town.person(second_factor=False, login=login)
    pairs = [(login, password) for login in DEFAULT_LOGINS for password in DEFAULT_PASSWORDS]
    assert len(pairs) == 50
    for login, password in pairs:
        access.town.later(3600)  # else the throttle refuses, and says nothing of the password
        refused = access.client().post("/v1/session", json={"login": login, "password": password})
        assert (refused.status_code, "set-cookie" in refused.headers) == (401, False), (login, password)


def test_a_wrong_code_of_an_authenticator_is_refused_in_one_sentence_with_one_mark(access: AccessTown) -> None:
    client = access.signed_in(access.town.person(second_factor=False))
    offer = client.post("/v1/account/totp").json()["offer"]
    refused = client.post("/v1/account/totp/confirmation", json={"offer": offer, "code": "000000"})
    assert refused.status_code == 400
    assert refused.json()["detail"].endswith("is the phone's clock right?")


def test_a_page_of_another_site_is_refused_with_what_to_do(access: AccessTown) -> None:
    elsewhere = access.client(headers={"Sec-Fetch-Site": "cross-site"})
    refused = elsewhere.post("/v1/session", json={"login": "anna", "password": "guess"})
    assert (refused.status_code, "Open the page on this site" in refused.json()["detail"]) == (403, True)


def test_brute_force_is_held_up_and_the_owner_gets_in_from_elsewhere(access: AccessTown) -> None:
    anna = access.town.person(ENGINEER)
    guesser = access.client("2001:db8:bad::1")
    answers = [
        guesser.post("/v1/session", json={"login": anna.login, "password": "guess"}).status_code for _ in range(7)
    ]
    assert answers == [401] * 5 + [429] * 2
    held = guesser.post("/v1/session", json={"login": anna.login, "password": "guess"})
    assert int(held.headers["retry-after"]) >= 1
    access.town.later(1)
    assert sign_in(access.client(ELSEWHERE), anna, code=access.town.next_code(anna)) == 201


def test_refused_sign_ins_are_logged_without_what_was_typed(
    access: AccessTown, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        access.client().post("/v1/session", json={"login": "anna@example.nl", "password": "hunter2hunter2"})
    assert "sign_in_refused reason=wrong source=2001:db8:1::1" in caplog.text
    assert "hunter2" not in caplog.text
    assert "anna" not in caplog.text


# Other sites.


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://lichtmast.example.evil.example"},
        {"Origin": "http://lichtmast.example"},
        {},
    ],
    ids=str,
)
def test_what_another_sites_page_sends_with_our_cookie_is_refused(access: AccessTown, headers: dict[str, str]) -> None:
    client = access.signed_in(access.town.person(ADMIN))
    client.headers = {}
    document = {"login": "mole@example.nl", "name": "Mole", "tenant": HERE, "role": "admin"}
    assert client.post("/v1/users", json=document, headers=headers).status_code == 403
    assert client.ask("DELETE", "/v1/session", headers=headers).status_code == 403
    assert client.get("/v1/session").status_code == 200
    assert client.post("/v1/users", json=document, headers={"Origin": ORIGIN}).status_code == 201


def test_another_site_cannot_sign_a_browser_in_as_somebody_else(access: AccessTown) -> None:
    eve = access.town.person(second_factor=False)
    client = Client(access.app, headers={"Sec-Fetch-Site": "cross-site"})
    form = f"login={eve.login}&password={PASSWORD}"
    assert client.post("/sign-in", content=form, headers=FORM).status_code == 403
    assert sign_in(client, eve) == 403


def test_json_is_taken_as_json_only(access: AccessTown) -> None:
    anna = access.town.person(second_factor=False)
    text = f'{{"login":"{anna.login}","password":"{PASSWORD}"}}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        response = access.client().post("/v1/session", content=text, headers={"Content-Type": kind})
        assert response.status_code == 415


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "/\\evil.example", "https://evil.example", "/%2f/evil", "javascript:alert(1)", "/ok#x", "\t/ok",
     "/@evil.example\n", "", "evil", "/%5cevil.example", "///evil"],
)  # fmt: skip
def test_nobody_is_sent_to_another_site(access: AccessTown, path: str) -> None:
    assert own_path(path, "/account") == "/account"
    anna = access.town.person(second_factor=False)
    response = access.client().post("/sign-in", data={"login": anna.login, "password": PASSWORD, "next": path})
    assert (response.status_code, response.headers["location"]) == (303, "/account?lang=nl")


def test_one_is_sent_back_to_where_one_was_going(access: AccessTown) -> None:
    assert own_path("/things/12?lang=en", "/") == "/things/12?lang=en"
    anna = access.town.person(second_factor=False)
    client = access.client()
    asked = client.get("/account", headers={"Accept": "text/html"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=%2Faccount")
    done = client.post("/sign-in", data={"login": anna.login, "password": PASSWORD, "next": "/things/1?lang=en"})
    assert done.headers["location"] == "/things/1?lang=en&lang=nl"


# Tokens.


def test_a_token_works_in_the_header_and_needs_no_origin(access: AccessTown) -> None:
    token = access.town.token(access.town.person(ADMIN), [ADMIN])
    robot = access.program(token)
    assert robot.get("/v1/session").json()["kind"] == "token"
    document = {"login": "new@example.nl", "name": "New", "tenant": HERE, "role": "viewer"}
    assert robot.post("/v1/users", json=document).status_code == 201
    assert robot.post("/v1/account/totp").status_code == 403, "a token does not change what its owner signs in with"


@pytest.mark.parametrize("query", ["access_token={}", "token={}", "q={}", "TOKEN=x", "api_key=1"])
def test_a_token_in_an_address_is_refused_and_logged(
    access: AccessTown, caplog: pytest.LogCaptureFixture, query: str
) -> None:
    token = access.town.token(access.town.person(ADMIN), [ADMIN])
    with caplog.at_level(logging.INFO):
        for path in ("/v1/users", "/", "/v1.1/Things"):
            response = access.client().get(f"{path}?{query.format(token)}")
            assert response.status_code == 400
            assert "Authorization header" in response.json()["detail"]
    ours = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith("lichtmast"))
    assert ours.count("token_in_query_refused") == 3
    assert token not in ours


@pytest.mark.parametrize("header", ["Bearer x", "Bearer lm_00000000_x", "Basic YTpi", "lm_00000000_x", "Bearer"])
def test_a_wrong_authorization_is_refused_even_where_nobody_has_to_sign_in(access: AccessTown, header: str) -> None:
    assert access.client().get("/", headers={"Authorization": header}).status_code == 401


def test_a_session_is_no_token_and_a_token_no_session(access: AccessTown) -> None:
    anna = access.town.person(ADMIN)
    client = access.signed_in(anna)
    (session,) = client.cookies.values()
    assert access.program(session).get("/v1/session").status_code == 401
    client.cookies = {"__Host-lichtmast": access.town.token(anna, [ADMIN])}
    assert client.get("/v1/session").status_code == 401


def test_a_token_is_made_shown_once_used_and_ended(access: AccessTown) -> None:
    client = access.signed_in(access.town.person(ADMIN))
    document = {"name": "robot", "grants": [{"tenant": HERE, "role": "admin"}], "until": "2026-12-01T00:00:00Z"}
    made = client.post("/v1/account/tokens", json=document).json()
    assert made["token"].startswith(f"lm_{made['prefix']}_")
    assert access.program(made["token"]).get("/v1/users").status_code == 200
    (listed,) = client.get("/v1/account/tokens").json()["value"]
    assert (listed["usedOn"], "token" in listed) == ("2026-11-21", False)
    assert client.ask("DELETE", f"/v1/account/tokens/{listed['id']}").status_code == 204
    assert access.program(made["token"]).get("/v1/users").status_code == 401
    more = {**document, "grants": [{"tenant": THERE, "role": "admin"}]}
    assert client.post("/v1/account/tokens", json=more).status_code == 400


# What is sent.


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"{", "body"),
        (b'{"login":"x"}', "password"),
        (b'{"login":1,"password":[]}', "login"),
        (b'{"login":"x","password":"y","role":"admin"}', "role"),
        (b'{"login":"x","password":"' + b"y" * 401 + b'"}', "password"),
        (b"[" * 60_000, "body"),
    ],
)
def test_malformed_requests_are_400_and_name_the_fault(access: AccessTown, body: bytes, told: str) -> None:
    response = access.client().post("/v1/session", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")
    assert told in response.json()["detail"]


def test_all_faults_are_told_together(access: AccessTown) -> None:
    detail = access.client().post("/v1/session", json={"x": 1}).json()["detail"]
    assert all(one in detail for one in ("login", "password", "x"))


def test_a_body_is_limited_before_it_is_read(access: AccessTown) -> None:
    headers = {"Content-Type": "application/json"}
    for length, status in ((BODY_BYTES_MAX, 400), (BODY_BYTES_MAX + 1, 413)):
        response = access.client().post("/v1/session", content=b"x" * length, headers=headers)
        assert response.status_code == status

    async def endless() -> Any:  # noqa: ANN401 - chunks
        yield b"x"

    assert access.client().post("/v1/session", content=endless(), headers=headers).status_code == 411
    assert access.client().ask("GET", "/v1/session", content=b"x").status_code == 413


def test_health_tells_the_anonymous_that_it_is_well_and_no_more(access: AccessTown) -> None:
    assert access.client().get("/healthz").json() == {"status": "ok"}
    client = access.signed_in(access.town.person())
    assert client.get("/healthz").json() == {"status": "ok", "log_lag": 7}


# Pages.


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


def test_the_first_admin_gets_in_by_the_link_alone_and_sets_up_a_second_factor(access: AccessTown) -> None:
    town, client = access.town, access.client()
    link = town.people.first_run(at_us=town.now_us)
    assert "De eerste beheerder" in client.get("/first-run").text
    form = {"code": link or "", "login": "anna@example.nl", "name": "Anna", "password": "short"}
    refused = client.post("/first-run", data=form)
    assert refused.status_code == 400
    assert 'value="anna@example.nl"' in refused.text, "what was typed stays"
    assert 'role="alert"' in refused.text
    assert "short" not in re.sub(r"<[^>]*help[^<]*", "", refused.text)
    entered = client.post("/first-run", data={**form, "password": PASSWORD})
    assert (entered.status_code, entered.headers["location"]) == (303, "/account?lang=nl")
    assert "Uw rollen gelden pas" in client.get("/account").text
    offered = client.post("/account/totp", data={"lang": "nl"}).text
    anna = Person(1, "anna@example.nl", re.search(r'id="totp-key">([A-Z2-7]+)<', offered)[1])  # type: ignore[index]
    wrong = client.post("/account/totp/confirmation", data={"offer": field(offered, "offer"), "code": "000000"})
    assert (wrong.status_code, field(wrong.text, "offer")) == (400, field(offered, "offer"))
    data = {"offer": field(offered, "offer"), "code": town.code(anna)}
    assert client.post("/account/totp/confirmation", data=data).headers["location"].startswith("/account")
    codes = re.findall(
        r"<code>([a-z2-7-]{19})</code>", client.post("/account/recovery-codes", data={"lang": "nl"}).text
    )
    assert len(codes) == 10
    assert town.people.account("anna@example.nl").grants == (Grant(EVERY_TENANT, Role.ADMIN),)
    assert client.get("/v1/users").status_code == 200
    assert access.client(ELSEWHERE).post("/first-run", data={**form, "password": PASSWORD}).status_code == 401


def test_a_page_signs_in_by_password_and_then_code(access: AccessTown) -> None:
    anna = access.town.person(ENGINEER)
    client = access.client()
    wrong = client.post("/sign-in", data={"login": anna.login, "password": "x", "lang": "en"})
    assert (wrong.status_code, "Login, password or code is wrong." in wrong.text) == (401, True)
    half = client.post("/sign-in", data={"login": anna.login, "password": PASSWORD, "next": "/things/1"})
    assert half.headers["location"] == "/sign-in/code?lang=nl&next=%2Fthings%2F1"
    assert client.get("/v1/session").status_code == 401
    assert client.post("/sign-in/code", data={"code": "000000"}).status_code == 401
    done = client.post("/sign-in/code", data={"code": access.town.next_code(anna), "next": "/things/1"})
    assert (done.status_code, done.headers["location"]) == (303, "/things/1?lang=nl")
    assert client.get("/v1/session").json()["login"] == anna.login
    client.post("/sign-out", data={"lang": "nl"})
    assert client.get("/v1/session").status_code == 401


def test_an_invitation_is_followed_on_its_page_and_not_on_the_first_runs(access: AccessTown) -> None:
    people, now_us = access.town.people, access.town.now_us
    _, link = people.invite("bert@example.nl", "Bert", ENGINEER, by=LOCAL_COMMAND, at_us=now_us)
    form = {"code": link or "", "login": "eve@example.nl", "name": "Eve", "password": PASSWORD}
    assert access.client().post("/first-run", data=form).status_code == 401
    assert access.client().post("/invitation", data=form).status_code == 303
    assert people.account("bert@example.nl").has_password
    assert [one.login for one in people.accounts()] == ["bert@example.nl"]


def test_guesses_at_links_are_slowed_down(access: AccessTown) -> None:
    client = access.client(ELSEWHERE)
    answers = [
        client.post("/invitation", data={"code": f"guess{number}", "password": PASSWORD}).status_code
        for number in range(KNOCK_NETWORK_BURST + 1)
    ]
    assert answers == [401] * KNOCK_NETWORK_BURST + [429]


def test_a_network_that_asks_for_passkeys_without_end_is_slowed_down_alone(access: AccessTown) -> None:
    def ask(source: str) -> int:
        return access.client(source).post("/v1/session/passkey-challenge").status_code

    assert {ask("2001:db8:bad::1") for _ in range(KNOCK_NETWORK_BURST)} == {201}
    assert ask("2001:db8:bad::2") == 429
    assert ask(ELSEWHERE) == 201


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/code", "/first-run", "/invitation", "/account"])
@pytest.mark.parametrize("language", ["nl", "en"])
def test_pages_label_every_field_and_say_what_fills_it(access: AccessTown, path: str, language: str) -> None:
    client = access.signed_in(access.town.person(ENGINEER))
    page = client.get(f"{path}?lang={language}").text
    assert f'<html lang="{language}">' in page
    for given in re.findall(r'<input id="(\w+)"([^>]*)>', page):
        assert f'<label for="{given[0]}">' in page
        assert "autocomplete=" in given[1]
    assert "<script>" not in page
    assert "style=" not in page


def test_both_languages_have_the_same_words() -> None:
    assert OWN_KEYS["nl"] == OWN_KEYS["en"]
    assert all(PEOPLE_TEXTS["nl"][key] for key in OWN_KEYS["nl"])


# Admins.


def test_an_admin_invites_grants_revokes_suspends_and_resets(access: AccessTown) -> None:
    access.town.person(Grant(EVERY_TENANT, Role.ADMIN))
    client = access.signed_in(access.town.person(ADMIN))
    document = {"login": "carla@example.nl", "name": "Carla", "tenant": HERE, "role": "engineer",
                "area": [5.1, 52.2, 5.2, 52.3], "until": "2026-12-01T00:00:00+01:00"}  # fmt: skip
    made = client.post("/v1/users", json=document)
    assert made.status_code == 201, made.text
    grant = made.json()["grants"][0]
    assert (grant["until"], len(grant["area"])) == ("2026-11-30T23:00:00Z", 4)
    assert made.json()["link"] == f"/invitation#{made.json()['code']}"
    user = f"/v1/users/{made.json()['id']}"
    entered = access.client().post("/invitation", data={"code": made.json()["code"], "password": PASSWORD})
    assert entered.status_code == 303
    assert client.post(f"{user}/grants", json={"tenant": HERE, "role": "viewer"}).status_code == 201
    assert client.ask("DELETE", f"{user}/grants/{grant['id']}").status_code == 204
    assert [one["role"] for one in client.get(user).json()["grants"]] == ["viewer"]
    carla = access.signed_in(Person(made.json()["id"], "carla@example.nl", ""))
    assert client.post(f"{user}/suspension").status_code == 204
    assert carla.get("/v1/session").status_code == 401
    assert client.ask("DELETE", f"{user}/suspension").status_code == 204
    assert carla.get("/v1/session").status_code == 401, "a session that ended does not come back"
    again = client.post(f"{user}/reset").json()
    assert access.client().post("/invitation", data={"code": again["code"], "password": PASSWORD}).status_code == 303


@pytest.mark.parametrize(
    "wrong",
    [{"role": "king"}, {"area": [1]}, {"area": [[5, 52], [6]]}, {"area": [6, 52, 5, 53]}, {"until": "tomorrow"},
     {"until": "2026-12-01T00:00:00"}, {"tenant": "x"}, {"login": "a b"}, {"name": ""},
     {"role": "viewer", "area": [1, 2, 3, 4]}],
)  # fmt: skip
def test_a_grant_that_cannot_be_is_400(access: AccessTown, wrong: dict[str, Any]) -> None:
    client = access.signed_in(access.town.person(ADMIN))
    document = {"login": "carla@example.nl", "name": "Carla", "tenant": HERE, "role": "engineer", **wrong}
    assert client.post("/v1/users", json=document).status_code == 400


def test_an_admin_in_an_old_session_signs_in_again_first(access: AccessTown) -> None:
    client = access.signed_in(access.town.person(ADMIN))
    access.town.later(901)
    document = {"login": "carla@example.nl", "name": "Carla", "tenant": HERE, "role": "viewer"}
    assert client.post("/v1/users", json=document).status_code == 403


def test_without_people_only_open_data_is_served(get: Any) -> None:  # noqa: ANN401 - the fixture's function
    assert get("/healthz").json()["log_offset"] == 1
    for path in ("/sign-in", "/v1/session", "/account", "/v1/devices"):
        assert get(path).status_code in {401, 404}
    assert get("/v1/session", method="POST", headers=OWN_PAGE, json={}).status_code == 404
