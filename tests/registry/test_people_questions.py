"""Questions to passkeys: anybody may ask, nothing is kept of it, and each is answered well once."""

from collections.abc import Callable

import pytest

from lichtmast.registry.people.limits import CHALLENGE_S
from lichtmast.registry.people.questions import Questions

NOW_US = 1_795_293_000_000_000
END_US = NOW_US + CHALLENGE_S * 1_000_000
SPOILT: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "no hexadecimal": lambda ticket: "é" * len(ticket),
    "blank": lambda ticket: " " * len(ticket),
    "made up": lambda ticket: "0" * len(ticket),
    "short": lambda ticket: ticket[:-1],
    "long": lambda ticket: ticket + "00",
    "with a later end": lambda ticket: ticket[:64] + "7fffffffffffffff" + ticket[80:],
}


def test_a_question_is_recognised_until_it_was_answered_well() -> None:
    questions = Questions()
    ticket, challenge = questions.ask(NOW_US)
    assert questions.challenge_of(ticket, END_US - 1) == challenge
    assert questions.use(ticket, END_US - 1)
    assert questions.challenge_of(ticket, END_US - 1) is None
    assert not questions.use(ticket, END_US - 1)
    assert not questions.use(ticket.upper(), END_US - 1), "the same question in other letters"


def test_a_question_ends() -> None:
    questions = Questions()
    ticket, _ = questions.ask(NOW_US)
    assert questions.challenge_of(ticket, END_US) is None
    assert not questions.use(ticket, END_US)


@pytest.mark.parametrize("how", SPOILT)
def test_what_was_not_asked_here_is_no_question(how: str) -> None:
    questions = Questions()
    ticket = SPOILT[how](questions.ask(NOW_US)[0])
    assert questions.challenge_of(ticket, NOW_US) is None
    assert not questions.use(ticket, NOW_US)


def test_what_another_process_asked_is_no_question() -> None:
    ticket, _ = Questions().ask(NOW_US)
    assert Questions().challenge_of(ticket, NOW_US) is None


def test_what_is_forgotten_cannot_be_answered_again() -> None:
    questions = Questions(used_max=2)
    tickets = [questions.ask(NOW_US + number)[0] for number in range(4)]
    assert [questions.use(one, NOW_US + 9) for one in tickets[1:]] == [True, True, True]
    assert [questions.use(one, NOW_US + 9) for one in tickets] == [False] * 4
    assert questions.use(questions.ask(NOW_US + 9)[0], NOW_US + 9)
