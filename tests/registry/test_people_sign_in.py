"""Signing in: what gets in, what does not, and what guessing costs."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from people_town import ELSEWHERE, HERE, HOME, PASSWORD, QUICK, PeopleTown, Person, people_town

from lichtmast.registry.auditing import LOCAL_COMMAND
from lichtmast.registry.people import (
    CodeNeeded,
    Grant,
    Passwords,
    PeopleBook,
    RelyingParty,
    Role,
    Seal,
    SignedIn,
    SignInReason,
    SignInRefused,
    Strength,
)
from lichtmast.registry.people.throttle import Policy, network_of, wait_s

ENGINEER = Grant(HERE, Role.ENGINEER)

pytestmark = pytest.mark.slow  # a register of its own for each, on disk
DEFAULTS = [
    (login, password)
    for login in ("admin", "root", "lichtmast", "administrator", "user", "demo", "test", "beheerder", "pi", "support")
    for password in ("admin", "password", "lichtmast", "changeme", "welkom01")
]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[PeopleTown]:
    with people_town(tmp_path / "registry.sqlite") as opened:
        yield opened


def wrong(town: PeopleTown, login: str, source: str = HOME) -> SignInRefused:
    found = town.people.sign_in.with_password(login, "not the password", None, town.visit(source))
    assert isinstance(found, SignInRefused)
    return found


def test_a_fresh_register_lets_nobody_in(town: PeopleTown) -> None:
    assert len(DEFAULTS) == 50
    for number, (login, password) in enumerate(DEFAULTS):
        source = f"2001:db8:{number:x}::1"
        found = town.people.sign_in.with_password(login, password, None, town.visit(source))
        assert found == SignInRefused(SignInReason.WRONG)
    assert town.people.accounts() == []


def test_password_and_code_make_a_session_that_counts(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    bearer = town.people.bearer(town.sign_in(anna), town.now_us)
    assert bearer is not None
    assert (bearer.login, bearer.strength, bearer.grants) == (anna.login, Strength.SECOND_FACTOR, (ENGINEER,))


def test_an_engineer_without_the_second_factor_does_not_get_in(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    found = town.people.sign_in.with_password(anna.login, PASSWORD, None, town.visit())
    assert isinstance(found, CodeNeeded)
    assert town.people.bearer(found.ticket, town.now_us) is None


def test_the_password_and_then_the_code_get_in_once(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    half = town.people.sign_in.with_password(anna.login, PASSWORD, None, town.visit())
    assert isinstance(half, CodeNeeded)
    code = town.next_code(anna)
    assert isinstance(town.people.sign_in.with_code(half.ticket, code, town.visit()), SignedIn)
    again = town.people.sign_in.with_code(half.ticket, code, town.visit())
    assert again == SignInRefused(SignInReason.LINK_ENDED)


def test_half_a_sign_in_ends_after_five_minutes(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    half = town.people.sign_in.with_password(anna.login, PASSWORD, None, town.visit())
    assert isinstance(half, CodeNeeded)
    town.later(301)
    found = town.people.sign_in.with_code(half.ticket, town.code(anna), town.visit())
    assert found == SignInRefused(SignInReason.LINK_ENDED)


def test_roles_that_change_things_do_not_count_by_password_alone(town: PeopleTown) -> None:
    anna = town.person(ENGINEER, Grant(HERE, Role.VIEWER), second_factor=False)
    bearer = town.people.bearer(town.sign_in(anna), town.now_us)
    assert bearer is not None
    assert bearer.grants == (Grant(HERE, Role.VIEWER),)


def test_a_code_works_once(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    code = town.next_code(anna)
    assert isinstance(town.people.sign_in.with_password(anna.login, PASSWORD, code, town.visit()), SignedIn)
    again = town.people.sign_in.with_password(anna.login, PASSWORD, code, town.visit())
    assert again == SignInRefused(SignInReason.WRONG)


@pytest.mark.parametrize(("aside_s", "gets_in"), [(-61, False), (-30, True), (0, True), (30, True), (61, False)])
def test_a_clock_may_be_one_step_off(town: PeopleTown, aside_s: int, gets_in: bool) -> None:  # noqa: FBT001 - a parameter of the test
    anna = town.person(ENGINEER)
    town.later(600 - town.now_us // 1_000_000 % 30)
    code = replace_now(town, aside_s, anna)
    found = town.people.sign_in.with_password(anna.login, PASSWORD, code, town.visit())
    assert isinstance(found, SignedIn) is gets_in


def replace_now(town: PeopleTown, aside_s: int, anna: Person) -> str:
    """The code that a clock that is off shows."""
    now_us = town.now_us
    town.later(aside_s)
    code = town.code(anna)
    town.now_us = now_us
    return code


@pytest.mark.parametrize("code", ["", "123", "12345x", "１２３４５６", "1234567", "-12345", "٠٠٠٠٠٠"])  # noqa: RUF001 - digits that are none
def test_what_is_no_code_is_wrong(town: PeopleTown, code: str) -> None:
    anna = town.person(ENGINEER)
    found = town.people.sign_in.with_password(anna.login, PASSWORD, code, town.visit())
    assert found == SignInRefused(SignInReason.WRONG)


def test_unknown_and_suspended_accounts_cost_the_same_and_are_answered_the_same(town: PeopleTown) -> None:
    anna, boss = town.person(ENGINEER), town.person(Grant("*", Role.ADMIN))
    town.people.set_active(anna.id, active=False, by=LOCAL_COMMAND, at_us=town.now_us)
    _, link = town.people.invite("new@example.nl", "Nieuw", ENGINEER, by=LOCAL_COMMAND, at_us=town.now_us)
    assert link is not None
    answers = set()
    for number, (login, password) in enumerate(
        [("nobody@example.nl", PASSWORD), (anna.login, PASSWORD), (boss.login, "x"), ("new@example.nl", PASSWORD)]
    ):
        town.passwords.verified = 0
        answers.add(town.people.sign_in.with_password(login, password, None, town.visit(f"2001:db8:{number:x}::1")))
        assert town.passwords.verified == 1
    assert answers == {SignInRefused(SignInReason.WRONG)}


def test_a_weaker_hash_is_renewed_at_sign_in(tmp_path: Path) -> None:
    with people_town(tmp_path / "registry.sqlite") as town:
        anna = town.person(second_factor=False)
        today = replace(QUICK, time_cost=2)
        with PeopleBook.open(
            tmp_path / "registry.sqlite", Seal.from_secret(b"k" * 32), passwords=Passwords(today)
        ) as book:
            assert isinstance(book.sign_in.with_password(anna.login, PASSWORD, None, town.visit()), SignedIn)
            kept = book._desk.engine.connect().exec_driver_sql("SELECT password_hash FROM account").scalar_one()
        assert "t=2," in kept


# Guessing.


def test_guessing_slows_down_and_never_stops_the_owner_elsewhere(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    for _ in range(5):
        assert wrong(town, anna.login).reason is SignInReason.WRONG
    held = wrong(town, anna.login)
    assert held.reason is SignInReason.WAIT
    right = town.people.sign_in.with_password(anna.login, PASSWORD, town.code(anna), town.visit())
    assert right == SignInRefused(SignInReason.WAIT, held.retry_s), "the right password does not jump the queue"
    assert town.sign_in(anna, ELSEWHERE)


def test_brute_forced_codes_are_held_up(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    half = town.people.sign_in.with_password(anna.login, PASSWORD, None, town.visit(ELSEWHERE))
    assert isinstance(half, CodeNeeded)
    begun_us, tried = town.now_us, 0
    for number in range(2_000):
        if town.now_us - begun_us > 299 * 1_000_000:
            break
        found = town.people.sign_in.with_code(half.ticket, f"{number:06d}", town.visit(ELSEWHERE))
        assert isinstance(found, SignInRefused)
        if found.reason is SignInReason.WAIT:
            town.later(found.retry_s)
        else:
            tried += 1
    assert tried <= 14, "as many codes as fit into the life of half a sign-in"
    assert town.sign_in(anna, HOME), "and its owner is not locked out"


def test_a_hundred_guesses_at_once_count_as_a_hundred(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    answers: list[SignInRefused] = []
    threads = [Thread(target=lambda: answers.append(wrong(town, anna.login))) for _ in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(one.reason is SignInReason.WRONG for one in answers) == 5


def test_the_throttle_holds_after_a_restart_and_for_the_whole_network(tmp_path: Path) -> None:
    with people_town(tmp_path / "registry.sqlite") as town:
        for _ in range(5):
            wrong(town, "anna@example.nl", "2001:db8:9::1")
    with people_town(tmp_path / "registry.sqlite") as town:
        assert wrong(town, "anna@example.nl", "2001:db8:9::ffff").reason is SignInReason.WAIT
        assert wrong(town, "anna@example.nl", "2001:db8:9:1::1").reason is SignInReason.WRONG


def test_one_network_that_tries_many_logins_is_slowed_down(town: PeopleTown) -> None:
    answers = [wrong(town, f"person{number}@example.nl", ELSEWHERE).reason for number in range(25)]
    assert answers[:20] == [SignInReason.WRONG] * 20
    assert SignInReason.WAIT in answers[20:]


def test_signing_in_to_ones_own_account_does_not_forgive_guesses_at_others(town: PeopleTown) -> None:
    eve = town.person(second_factor=False)
    answers = []
    for number in range(25):
        town.people.sign_in.with_password(eve.login, PASSWORD, None, town.visit(ELSEWHERE))
        answers.append(wrong(town, f"victim{number}@example.nl", ELSEWHERE).reason)
    assert SignInReason.WAIT in answers


def test_guessing_from_everywhere_leaves_the_owner_in_where_they_were_before(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    town.sign_in(anna, HOME)
    answers = [wrong(town, anna.login, f"2001:db8:{number:x}:1::1").reason for number in range(0x100, 0x140)]
    assert answers.count(SignInReason.WAIT) > 0
    assert wrong(town, anna.login, ELSEWHERE).reason is SignInReason.WAIT
    assert town.sign_in(anna, HOME)


def test_waits_double_up_to_a_limit_and_are_forgiven() -> None:
    policy = Policy(free=5, delay_s_max=900)
    waits = [wait_s(level, 0, 0, policy) for level in range(20)]
    assert waits[:5] == [0] * 5
    assert waits[5:10] == [1, 2, 4, 8, 16]
    assert waits[-1] == 900
    assert wait_s(19, 0, 900 * 1_000_000, policy) == 0


def test_attempts_that_are_a_day_old_are_gone(town: PeopleTown) -> None:
    wrong(town, "anna@example.nl")
    town.later(86_401)
    wrong(town, "bert@example.nl")
    with town.people._desk.engine.connect() as connection:
        keys = connection.exec_driver_sql("SELECT count(*) FROM attempt").scalar_one()
    assert keys == 3


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("local", "local"),
        ("x" * 100, "x" * 40),
    ],
)
def test_a_network_is_a_64(source: str, network: str) -> None:
    assert network_of(source) == network


# Passkeys, before anything is proved.


def test_strangers_with_passkeys_write_nothing(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    with people_town(path) as town, closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")  # whoever writes now waits ten seconds, and fails
        party, visit = RelyingParty("localhost", "https://localhost"), town.visit()
        ticket, _ = town.people.sign_in.begin_passkey(party, visit)
        wrong = town.people.sign_in.with_passkey(ticket, {"id": "bm9uZQ"}, party, visit)
        assert wrong == SignInRefused(SignInReason.WRONG)
        ended = SignInRefused(SignInReason.LINK_ENDED)
        assert town.people.sign_in.with_passkey("0" * len(ticket), {"id": "bm9uZQ"}, party, visit) == ended
        assert town.people.sign_in.with_code("made up", "123456", visit) == ended


# OpenID Connect, after its token was verified.


def test_a_provider_makes_no_account_and_knows_people_by_subject(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    book = town.people.sign_in
    issuer = "https://id.example"
    unknown = book.with_openid(issuer, "s9", "x@example.nl", strong=True, visit=town.visit())
    assert unknown == SignInRefused(SignInReason.NO_ACCOUNT)
    first = book.with_openid(issuer, "s1", anna.login.upper(), strong=True, visit=town.visit())
    assert isinstance(first, SignedIn)
    assert first.account_id == anna.id
    other = book.with_openid(issuer, "s2", anna.login, strong=True, visit=town.visit())
    assert other == SignInRefused(SignInReason.NO_ACCOUNT), "an address that went to somebody else"
    again = book.with_openid(issuer, "s1", None, strong=True, visit=town.visit())
    assert isinstance(again, SignedIn)


def test_without_a_second_factor_at_the_provider_ours_is_asked(town: PeopleTown) -> None:
    anna = town.person(ENGINEER)
    found = town.people.sign_in.with_openid("https://id.example", "s1", anna.login, strong=False, visit=town.visit())
    assert isinstance(found, CodeNeeded)
    assert isinstance(town.people.sign_in.with_code(found.ticket, town.next_code(anna), town.visit()), SignedIn)
