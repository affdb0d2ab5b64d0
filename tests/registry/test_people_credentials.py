"""What people sign in with, and who they are let in by: every change ends sessions, and every link works once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pyotp
import pytest
from people_town import ELSEWHERE, HERE, HOME, PASSWORD, THERE, PeopleTown, people_town

from lichtmast.registry.auditing import LOCAL_COMMAND
from lichtmast.registry.people import (
    EVERY_TENANT,
    Area,
    Bearer,
    Grant,
    NotAcceptedError,
    NotNowError,
    PeopleBook,
    PeopleError,
    Role,
    Seal,
    SignedIn,
    SignInReason,
    SignInRefused,
    Strength,
    UnknownPersonError,
)
from lichtmast.registry.people.passwords import require_good

ENGINEER = Grant(HERE, Role.ENGINEER)
ADMIN = Grant(EVERY_TENANT, Role.ADMIN)
DAY_US = 86_400 * 1_000_000

pytestmark = pytest.mark.slow  # a register of its own for each, on disk


@pytest.fixture
def town(tmp_path: Path) -> Iterator[PeopleTown]:
    with people_town(tmp_path / "registry.sqlite") as opened:
        yield opened


def bearer(town: PeopleTown, secret: str) -> Bearer:
    found = town.people.bearer(secret, town.now_us)
    assert found is not None
    return found


def actions(town: PeopleTown) -> list[str]:
    return [one.action for one in town.registry.audit_log.read(limit=1_000)]


# The first run, invitations, resets.


def test_the_first_run_link_makes_one_admin_and_no_second(town: PeopleTown) -> None:
    earlier = town.people.first_run(at_us=town.now_us)
    link = town.people.first_run(at_us=town.now_us)
    assert earlier is not None
    assert link is not None
    visit = town.visit()
    assert town.people.follow(earlier, PASSWORD, visit, login="eve@example.nl", name="Eve") is None
    begun = town.people.follow(link, PASSWORD, visit, login="Anna@Example.nl", name="Anna")
    assert begun is not None
    assert bearer(town, begun.secret).grants == (), "an admin without a second factor may do nothing"
    assert town.people.account("anna@example.nl").grants == (ADMIN,)
    assert town.people.follow(link, PASSWORD, visit, login="eve@example.nl", name="Eve") is None
    assert town.people.first_run(at_us=town.now_us) is None


def test_a_first_run_link_that_was_overtaken_by_an_admin_is_void(town: PeopleTown) -> None:
    link = town.people.first_run(at_us=town.now_us)
    assert link is not None
    town.person(ADMIN)
    assert town.people.follow(link, PASSWORD, town.visit(), login="eve@example.nl", name="Eve") is None


def test_links_end_after_a_day_and_work_once(town: PeopleTown) -> None:
    account, link = town.people.invite("anna@example.nl", "Anna", ENGINEER, by=LOCAL_COMMAND, at_us=town.now_us)
    assert link is not None
    assert town.people.follow("x" * 43, PASSWORD, town.visit()) is None
    assert town.people.follow(link, PASSWORD, town.visit()) is not None
    assert town.people.follow(link, PASSWORD, town.visit()) is None
    again = town.people.reset(account.id, by=LOCAL_COMMAND, at_us=town.now_us)
    town.later(86_401)
    assert town.people.follow(again, PASSWORD, town.visit()) is None


def test_a_bad_password_does_not_use_up_the_link(town: PeopleTown) -> None:
    _, link = town.people.invite("anna@example.nl", "Anna", ENGINEER, by=LOCAL_COMMAND, at_us=town.now_us)
    assert link is not None
    with pytest.raises(NotAcceptedError):
        town.people.follow(link, "short", town.visit())
    assert town.people.follow(link, PASSWORD, town.visit()) is not None


def test_a_reset_takes_everything_and_leads_back_in(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    secret, token = town.sign_in(anna), town.token(anna, [ENGINEER])
    town.people.bind_openid(anna.id, "https://id.example", "s1", by=LOCAL_COMMAND, at_us=town.now_us)
    link = town.people.reset(anna.id, by=LOCAL_COMMAND, at_us=town.now_us)
    assert town.people.bearer(secret, town.now_us) is None
    assert town.people.bearer(token, town.now_us) is None
    found = town.people.sign_in.with_password(anna.login, PASSWORD, town.next_code(anna), town.visit())
    assert isinstance(found, SignInRefused)
    found = town.people.sign_in.with_openid("https://id.example", "s1", None, strong=True, visit=town.visit())
    assert found == SignInRefused(SignInReason.NO_ACCOUNT)
    assert town.people.follow(link, PASSWORD, town.visit()) is not None
    assert not town.people.account(anna.login).has_second_factor


def test_nobody_can_take_away_the_last_admin(town: PeopleTown) -> None:
    boss = town.person(ADMIN)
    grant = town.people.account_by_id(boss.id).held[0].id
    with pytest.raises(NotNowError, match="another admin"):
        town.people.revoke(boss.id, grant, by=LOCAL_COMMAND, at_us=town.now_us)
    with pytest.raises(NotNowError, match="another admin"):
        town.people.set_active(boss.id, active=False, by=LOCAL_COMMAND, at_us=town.now_us)
    assert town.people.account_by_id(boss.id).active
    town.person(ADMIN)
    town.people.revoke(boss.id, grant, by=LOCAL_COMMAND, at_us=town.now_us)


# Sessions.


def test_a_session_ends_idle_after_a_working_day_and_in_any_case_after_a_week(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    idle, used = town.sign_in(anna), town.sign_in(anna)
    for _ in range(10):
        town.later(3600)
        assert town.people.bearer(used, town.now_us) is not None
    assert town.people.bearer(idle, town.now_us) is None
    for _ in range(160):
        town.later(3600)
        last = town.people.bearer(used, town.now_us)
    assert last is None


@pytest.mark.parametrize("change", ["password", "totp", "grant", "revoke", "suspend", "all"])
def test_whatever_changes_an_account_ends_its_sessions(town: PeopleTown, change: str) -> None:
    anna = town.person(ENGINEER)
    first, second = town.sign_in(anna), town.sign_in(anna)
    me, book, visit = bearer(town, second), town.people.credentials, town.visit()
    renewed = ""
    if change == "password":
        renewed = book.change_password(me, PASSWORD, "een heel ander wachtwoord", visit)
    elif change == "totp":
        offer = book.offer_totp(me, visit)
        anna.seed = offer.seed
        renewed = book.confirm_totp(me, offer.ticket, town.code(anna), visit)
    elif change == "grant":
        town.people.grant(anna.id, Grant(THERE, Role.VIEWER), by=LOCAL_COMMAND, at_us=town.now_us)
    elif change == "revoke":
        town.people.revoke(anna.id, town.people.account_by_id(anna.id).held[0].id, by=LOCAL_COMMAND, at_us=town.now_us)
    elif change == "suspend":
        town.people.set_active(anna.id, active=False, by=LOCAL_COMMAND, at_us=town.now_us)
    else:
        book.end_all_sessions(me, visit)
    assert town.people.bearer(first, town.now_us) is None
    assert town.people.bearer(second, town.now_us) is None
    if renewed:
        assert bearer(town, renewed).strength is Strength.SECOND_FACTOR


def test_the_twenty_first_session_ends_the_first(town: PeopleTown) -> None:
    anna = town.person(second_factor=False)
    secrets = []
    for _ in range(21):
        town.later(1)
        secrets.append(town.sign_in(anna))
    assert town.people.bearer(secrets[0], town.now_us) is None
    assert town.people.bearer(secrets[1], town.now_us) is not None


def test_nobody_ends_a_session_of_somebody_else(town: PeopleTown) -> None:
    anna, eve = town.person(), town.person()
    theirs = bearer(town, town.sign_in(anna))
    me = bearer(town, town.sign_in(eve))
    assert theirs.session_id is not None
    with pytest.raises(UnknownPersonError):
        town.people.credentials.end_session(me, theirs.session_id, town.visit())


# Credentials.


def test_a_new_password_needs_the_current_one(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    me = bearer(town, town.sign_in(anna))
    for _ in range(5):
        with pytest.raises(NotAcceptedError, match="current password"):
            town.people.credentials.change_password(me, "guess", "een heel ander wachtwoord", town.visit())
    with pytest.raises(NotNowError, match="too many"):
        town.people.credentials.change_password(me, PASSWORD, "een heel ander wachtwoord", town.visit())


def test_a_reset_wins_over_a_password_change_that_is_under_way(
    town: PeopleTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = town.person(second_factor=False)
    me = bearer(town, town.sign_in(anna))
    hashed = town.passwords.hash

    def meanwhile(password: str) -> str:
        town.people.reset(anna.id, by=LOCAL_COMMAND, at_us=town.now_us)
        return hashed(password)

    monkeypatch.setattr(town.passwords, "hash", meanwhile)
    with pytest.raises(NotNowError, match="meanwhile"):
        town.people.credentials.change_password(me, PASSWORD, "een heel ander wachtwoord", town.visit())
    assert not town.people.account(anna.login).has_password
    assert town.people.credentials.sessions(anna.id, town.now_us) == []


def test_a_session_that_was_ended_meanwhile_changes_nothing(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    me, book = bearer(town, town.sign_in(anna)), town.people.credentials
    offer = book.offer_totp(me, town.visit())
    code = pyotp.TOTP(offer.seed).at(town.now_us // 1_000_000)
    book.end_all_sessions(me, town.visit())
    changes: list[Callable[[], object]] = [
        lambda: book.add_token(me, "robot", [ENGINEER], town.now_us + DAY_US, town.visit()),
        lambda: book.new_recovery_codes(me, town.visit()),
        lambda: book.confirm_totp(me, offer.ticket, code, town.visit()),
        lambda: book.change_password(me, PASSWORD, "een heel ander wachtwoord", town.visit()),
    ]
    for change in changes:
        with pytest.raises(NotNowError, match="ended meanwhile"):
            change()


def test_an_offered_authenticator_is_not_in_force_before_its_code(town: PeopleTown) -> None:
    anna = town.person(ENGINEER, second_factor=False)
    me = bearer(town, town.sign_in(anna))
    offer = town.people.credentials.offer_totp(me, town.visit())
    assert not town.people.account(anna.login).has_totp
    with pytest.raises(NotAcceptedError, match="clock"):
        town.people.credentials.confirm_totp(me, offer.ticket, "000000", town.visit())
    eve = bearer(town, town.sign_in(town.person(second_factor=False)))
    anna.seed = offer.seed
    with pytest.raises(NotAcceptedError, match="ended"):
        town.people.credentials.confirm_totp(eve, offer.ticket, town.code(anna), town.visit())
    assert offer.otpauth.startswith("otpauth://totp/Lichtmast:")
    assert "<svg" in offer.qr_svg()


def test_recovery_codes_work_once_and_the_new_ones_replace_the_old(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    me = bearer(town, town.sign_in(anna))
    old = town.people.credentials.new_recovery_codes(me, town.visit())
    codes = town.people.credentials.new_recovery_codes(me, town.visit())
    assert len(set(codes)) == 10
    typed = codes[0].upper().replace("-", " ")
    attempts = [old[0], typed, codes[0]]
    answers = [town.people.sign_in.with_password(anna.login, PASSWORD, one, town.visit()) for one in attempts]
    assert [isinstance(one, SignedIn) for one in answers] == [False, True, False]
    assert town.people.account(anna.login).recovery_codes == 9


def test_the_last_second_factor_of_an_engineer_stays(town: PeopleTown) -> None:
    anna, vera = town.person(ENGINEER), town.person(Grant(HERE, Role.VIEWER))
    with pytest.raises(NotNowError, match="second factor"):
        town.people.credentials.remove_totp(bearer(town, town.sign_in(anna)), town.visit())
    town.people.credentials.remove_totp(bearer(town, town.sign_in(vera)), town.visit())


@pytest.mark.parametrize(
    "password", ["", "elf tekens!", "aaaaaaaaaaaaaaaa", "anna@example.nl", "anna.example12", "password1234", "x" * 201]
)
def test_passwords_that_are_guessed_first_are_refused(password: str) -> None:
    with pytest.raises(NotAcceptedError):
        require_good(password, "anna@example.nl")


def test_a_register_with_another_secret_opens_no_seed(tmp_path: Path) -> None:
    with people_town(tmp_path / "registry.sqlite") as town:
        anna = town.person(ENGINEER)
        other = Seal.from_secret(b"another secret, as long as it must be")
        with (
            PeopleBook.open(tmp_path / "registry.sqlite", other, passwords=town.passwords) as book,
            pytest.raises(PeopleError, match="unlock"),
        ):
            book.sign_in.with_password(anna.login, PASSWORD, town.code(anna), town.visit())


def test_no_secret_lies_in_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    with people_town(path) as town:
        anna = town.person(ENGINEER)
        secret, token = town.sign_in(anna), town.token(anna, [ENGINEER])
        codes = town.people.credentials.new_recovery_codes(bearer(town, secret), town.visit())
        link = town.people.reset(town.person().id, by=LOCAL_COMMAND, at_us=town.now_us)
        kept = path.read_bytes() + path.with_name(path.name + "-wal").read_bytes()
    assert anna.login.encode() in kept, "the search looks where it should"
    for one in (secret, token, token.rpartition("_")[2], link, anna.seed, PASSWORD, *codes):
        assert one.encode() not in kept
        assert one.replace("-", "").encode() not in kept


# Tokens.


def test_a_token_has_what_it_was_given_and_its_owner_still_has(town: PeopleTown) -> None:
    anna = town.person(ENGINEER, Grant(THERE, Role.MANAGER))
    token = town.token(anna, [ENGINEER])
    found = bearer(town, token)
    assert ([(one.tenant, one.role) for one in found.grants], found.session_id) == ([(HERE, Role.ENGINEER)], None)
    town.people.revoke(anna.id, town.people.account_by_id(anna.id).held[0].id, by=LOCAL_COMMAND, at_us=town.now_us)
    assert bearer(town, token).grants == ()
    town.people.set_active(anna.id, active=False, by=LOCAL_COMMAND, at_us=town.now_us)
    assert town.people.bearer(token, town.now_us) is None


@pytest.mark.parametrize(
    "grants",
    [
        [],
        [Grant(HERE, Role.MANAGER)],
        [Grant(THERE, Role.ENGINEER)],
        [Grant(EVERY_TENANT, Role.ENGINEER)],
        [Grant(HERE, Role.ENGINEER, Area.box(5.0, 52.0, 5.5, 52.5))],
    ],
    ids=["none", "another role", "another tenant", "all tenants", "another area"],
)
def test_nobody_gives_a_token_more_than_they_have(town: PeopleTown, grants: list[Grant]) -> None:
    area = Area.box(5.1, 52.2, 5.2, 52.3)
    anna = town.person(Grant(HERE, Role.ENGINEER, area))
    me = bearer(town, town.sign_in(anna))
    with pytest.raises(NotAcceptedError):
        town.people.credentials.add_token(me, "robot", grants, town.now_us + DAY_US, town.visit())


def test_a_token_ends_on_its_day_and_on_demand(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    token = town.token(anna, [ENGINEER], days=1)
    other = town.token(anna, [ENGINEER], days=366)
    me = bearer(town, town.sign_in(anna))
    records = town.people.credentials.tokens(anna.id, town.now_us)
    town.people.credentials.end_token(me, records[1].id, town.visit())
    assert town.people.bearer(other, town.now_us) is None
    assert bearer(town, token).token_prefix == records[0].prefix
    assert town.people.credentials.tokens(anna.id, town.now_us)[0].used_day == town.now_us // DAY_US
    town.later(86_400)
    assert town.people.bearer(token, town.now_us) is None
    with pytest.raises(NotAcceptedError, match="366"):
        town.people.credentials.add_token(me, "robot", [ENGINEER], town.now_us + 367 * DAY_US, town.visit())


# Grants.


def test_a_grant_counts_until_its_time_is_over(town: PeopleTown) -> None:
    anna = town.person(Grant(HERE, Role.ENGINEER, until_us=town.now_us + 3600 * 1_000_000))
    secret = town.sign_in(anna)
    assert len(bearer(town, secret).grants) == 1
    town.later(3600)
    assert bearer(town, secret).grants == ()


def test_a_grant_needs_a_tenant_that_is_there(town: PeopleTown) -> None:
    with pytest.raises(UnknownPersonError, match="gm9999"):
        town.people.invite("x@example.nl", "X", Grant("gm9999", Role.VIEWER), by=LOCAL_COMMAND, at_us=town.now_us)
    assert town.people.accounts() == []
    for wrong in ("amsterdam", "GM0402", ""):
        with pytest.raises(NotAcceptedError):
            Grant(wrong, Role.VIEWER)


@pytest.mark.parametrize(
    ("longitude", "latitude", "inside"),
    [(5.5, 52.5, True), (4.9, 52.5, False), (5.5, 53.1, False), (5.9, 52.9, False), (5.05, 52.9, True)],
)
def test_an_area_contains_what_lies_in_it(longitude: float, latitude: float, inside: bool) -> None:  # noqa: FBT001 - a parameter of the test
    triangle = Area(((5.0, 52.0), (6.0, 52.0), (5.0, 53.0))) if latitude > 52.8 else Area.box(5.0, 52.0, 6.0, 53.0)
    assert triangle.contains(SimpleNamespace(longitude=longitude, latitude=latitude)) is inside


@pytest.mark.parametrize(
    "corners", [(), ((5.0, 52.0),) * 2, ((5.0, float("nan")),) * 3, ((52.0, 152.0),) * 3, ((5.0, 52.0),) * 101]
)
def test_what_is_no_area_is_refused(corners: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(NotAcceptedError):
        Area(corners)


# The log of changes.


def test_every_change_is_in_the_log_and_no_secret_is(town: PeopleTown, tmp_path: Path) -> None:
    anna = town.person(ENGINEER)
    secret = town.sign_in(anna, ELSEWHERE)
    me = bearer(town, secret)
    codes = town.people.credentials.new_recovery_codes(me, town.visit())
    token = town.token(anna, [ENGINEER])
    town.people.bind_openid(anna.id, "https://id.example", "s1", by=LOCAL_COMMAND, at_us=town.now_us)
    town.people.grant(anna.id, Grant(THERE, Role.VIEWER), by=LOCAL_COMMAND, at_us=town.now_us)
    told = actions(town)
    for action in ("account_added", "granted", "link_used", "signed_in", "totp_added", "recovery_codes_made",
                   "token_added", "openid_bound"):  # fmt: skip
        assert f"people.{action}" in told
    log = town.registry.audit_log
    signed_in = [one for one in log.read(limit=1_000) if one.action == "people.signed_in"]
    assert (signed_in[-2].actor, signed_in[-2].source, signed_in[-1].source) == (anna.login, ELSEWHERE, HOME)
    assert [one.tenant for one in log.read(limit=1_000) if one.action == "people.granted"] == [HERE, THERE]
    assert log.verify().is_whole
    log.export(tmp_path / "log.jsonl")
    text = (tmp_path / "log.jsonl").read_text()
    assert anna.login in text
    for one in (secret, token, anna.seed, PASSWORD, *codes):
        assert one not in text


def test_what_is_refused_leaves_no_trace_in_the_log(town: PeopleTown) -> None:
    before = actions(town)
    for number in range(30):
        found = town.people.sign_in.with_password(f"x{number}", "y", None, town.visit())
        assert isinstance(found, SignInRefused)
        assert found.reason in {SignInReason.WRONG, SignInReason.WAIT}
    assert actions(town) == before
