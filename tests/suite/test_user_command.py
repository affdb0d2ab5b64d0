"""`lichtmast user`: people are let in from the command line, and what it prints leads them there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from people_town import NOW_US, PASSWORD
from typer.testing import CliRunner

from lichtmast.registry import Registry
from lichtmast.registry.people import Grant, NotNowError, PeopleBook, Role, Seal, UnknownPersonError, Visit
from lichtmast.suite.commands import user
from lichtmast.suite.folder import Folder
from lichtmast.suite.unlock import unlock_secret

pytestmark = pytest.mark.slow

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(user, "now_us", lambda: NOW_US)
    folder = Folder.choose(tmp_path / "data")
    with Registry.open(folder.registry) as registry:
        registry.ensure_tenant("gm0402", "Hilversum")
    return folder


@pytest.fixture
def run(folder: Folder) -> Run:
    def call(*words: str) -> dict[str, Any]:
        done = CliRunner().invoke(user.app, [*words, "--data", str(folder.path), "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return call


def test_who_is_invited_gets_in_by_the_link_and_the_log_says_who_let_them(folder: Folder, run: Run) -> None:
    made = run("invite", "Anna@example.nl", "--role", "engineer", "--tenant", "gm0402", "--area", "5.1,52.2,5.2,52.3",
               "--until", "2026-12-01")  # fmt: skip
    assert (made["login"], made["link"]) == ("anna@example.nl", f"/invitation#{made['code']}")
    assert made["roles"][0]["until"] == "2026-12-01T00:00:00Z"
    with PeopleBook.open(folder.registry, Seal.from_secret(unlock_secret(folder))) as people:
        assert people.follow(made["code"], PASSWORD, Visit(NOW_US, "2001:db8::1")) is not None
    with Registry.open(folder.registry) as registry:
        event = next(one for one in registry.audit_log.read(limit=100) if one.action == "people.account_added")
    assert (event.actor_kind, event.source, event.subject) == ("command", "local", "anna@example.nl")


def test_roles_are_listed_given_and_taken(run: Run) -> None:
    run("invite", "anna@example.nl", "--role", "admin", "--tenant", "*")
    run("grant", "anna@example.nl", "--role", "viewer", "--tenant", "gm0402")
    (listed,) = run("list")["users"]
    assert [(one["role"], one["tenant"]) for one in listed["roles"]] == [("admin", "*"), ("viewer", "gm0402")]
    left = run("revoke", "anna@example.nl", str(listed["roles"][1]["id"]))
    assert [one["role"] for one in left["roles"]] == ["admin"]
    with pytest.raises(NotNowError, match="another admin"):
        run("revoke", "anna@example.nl")


def test_a_reset_prints_a_new_link_and_tokens_are_listed_without_their_secret(folder: Folder, run: Run) -> None:
    made = run("invite", "anna@example.nl", "--role", "viewer", "--tenant", "gm0402")
    visit = Visit(NOW_US, "2001:db8::1")
    with PeopleBook.open(folder.registry, Seal.from_secret(unlock_secret(folder))) as people:
        begun = people.follow(made["code"], PASSWORD, visit)
        assert begun is not None
        bearer = people.bearer(begun.secret, NOW_US)
        assert bearer is not None
        grants = [Grant("gm0402", Role.VIEWER)]
        text, _ = people.credentials.add_token(bearer, "robot", grants, NOW_US + 10**12, visit)
        (token,) = run("tokens", "anna@example.nl")["tokens"]
        assert text.startswith(f"lm_{token['prefix']}_")
        assert token["roles"] == ["viewer in gm0402, until 2026-12-03T10:16:40Z"]
        assert run("reset", "anna@example.nl")["code"] != made["code"]
        assert people.bearer(text, NOW_US) is None


def test_who_is_not_there_is_told_so(run: Run) -> None:
    for words in (["reset", "nobody"], ["grant", "nobody", "--role", "viewer", "--tenant", "gm0402"], ["tokens", "x"]):
        with pytest.raises(UnknownPersonError, match="invite"):
            run(*words)


def test_for_people_it_prints_one_line_a_role(folder: Folder, run: Run) -> None:
    run("invite", "anna@example.nl", "--role", "manager", "--tenant", "gm0402", "--name", "Anna [b]")
    told = CliRunner().invoke(user.app, ["list", "--data", str(folder.path)]).stdout
    assert "anna@example.nl  Anna [b]  (without a second factor)" in told
    assert "  1  manager in gm0402" in told
