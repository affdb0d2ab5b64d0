"""Nobody reaches another tenant: every route that needs a role, asked by those who have none there."""

import re
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Final

import pytest
from access_town import AccessTown, Client, access_town
from people_town import HERE, SECOND_US, THERE, PeopleTown

from lichtmast.api.access.caller import Caller
from lichtmast.api.access.need import Kind
from lichtmast.api.access.table import NEEDS
from lichtmast.api.problem import Problem
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.people import EVERY_TENANT, Area, Grant, Role
from lichtmast.wire.identity import DeviceId

DEVICE: Final = "lamp-0001"
GUARDED: Final = sorted(key for key, need in NEEDS.items() if need.kind is Kind.ROLES)
OBJECTS: Final = [(method, path) for method, path in GUARDED if "{" in path]
LISTS: Final = [(method, path) for method, path in GUARDED if method == "GET" and "{" not in path]
BODIES: Final = {
    "/v1/users": {"login": "new@example.nl", "name": "New", "tenant": THERE, "role": "admin"},
    "/v1/users/{user_id}/grants": {"tenant": THERE, "role": "viewer"},
    "/v1/users/{user_id}/openid-binding": {"issuer": "https://id.example", "subject": "s1"},
}
ELSEWHERE_AREA: Final = Area.box(3.3, 50.8, 3.4, 50.9)


pytestmark = pytest.mark.slow  # a register, and people in it


def every_role(tenant: str, town: PeopleTown, *, ends_s: int = 0) -> list[Grant]:
    until_us = town.now_us + ends_s * SECOND_US if ends_s else None
    return [Grant(tenant, one, None, until_us) for one in Role]


STRANGERS: Final[dict[str, Callable[[PeopleTown], list[Grant]]]] = {
    "another tenant": lambda town: every_role(HERE, town),
    "a grant that ended": lambda town: [*every_role(THERE, town, ends_s=100), Grant(HERE, Role.VIEWER)],
    "an engineer of another tenant's area": lambda _: [Grant(HERE, Role.ENGINEER, ELSEWHERE_AREA)],
}


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccessTown]:
    with access_town(tmp_path_factory.mktemp("tenants")) as opened:
        town = opened.town
        for tenant in (HERE, THERE):
            town.registry.register_device(DeviceId(tenant, DEVICE), "weather", at_us=town.now_us)
        yield opened


def client_of(access: AccessTown, grants: Sequence[Grant]) -> Client:
    client = access.signed_in(access.town.person(*grants))
    access.town.later(101)
    return client


def ask(client: Client, method: str, path: str, user_id: int) -> tuple[int, str]:
    address = path.replace("{tenant}", THERE).replace("{name}", DEVICE).replace("{user_id}", str(user_id))
    if (method, path) in LISTS and path != "/v1/users":
        address += f"?tenant={THERE}"
    body = BODIES.get(path, {}) if method in {"POST", "PUT"} else None
    response = client.ask(method, re.sub(r"\{[a-z_]+\}", "1", address), **({} if body is None else {"json": body}))
    return response.status_code, response.text


@pytest.mark.parametrize("stranger", STRANGERS)
def test_an_object_of_another_tenant_is_never_shown_and_never_changed(access: AccessTown, stranger: str) -> None:
    victim = access.town.person(Grant(THERE, Role.ENGINEER))
    before = access.town.people.account_by_id(victim.id)
    client = client_of(access, STRANGERS[stranger](access.town))
    for method, path in OBJECTS:
        status, text = ask(client, method, path, victim.id)
        assert status in {400, 403, 404}, (method, path, text)
        if status == 403:
            assert "role" in text, "the gate's own answer, which is the same for all objects"
        assert victim.login not in text
    assert access.town.people.account_by_id(victim.id) == before
    assert access.town.people.bearer(access.town.sign_in(victim), access.town.now_us) is not None


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_list_holds_nothing_of_another_tenant(access: AccessTown, stranger: str) -> None:
    victim = access.town.person(Grant(THERE, Role.ENGINEER))
    client = client_of(access, STRANGERS[stranger](access.town))
    for method, path in LISTS:
        _, text = ask(client, method, path, victim.id)
        assert THERE not in text, (method, path)
        assert victim.login not in text, (method, path)


def test_those_who_belong_there_see_it(access: AccessTown) -> None:
    """What the two tests above look for is there to be found."""
    victim = access.town.person(Grant(THERE, Role.ENGINEER))
    client = access.signed_in(access.town.person(*(Grant(THERE, one) for one in Role)))
    assert victim.login in ask(client, "GET", "/v1/users", victim.id)[1]
    assert victim.login in ask(client, "GET", "/v1/users/{user_id}", victim.id)[1]
    assert THERE in ask(client, "GET", "/v1/devices", victim.id)[1]
    assert ask(client, "GET", "/v1/devices/{tenant}/{name}", victim.id)[0] == 200


def test_an_admin_of_one_tenant_gives_no_role_in_another(access: AccessTown) -> None:
    client = access.signed_in(access.town.person(Grant(HERE, Role.ADMIN)))
    for tenant, status in ((THERE, 404), (EVERY_TENANT, 404), ("gm9999", 404), ("x", 400)):
        document = {"login": f"mole-{status}@example.nl", "name": "Mole", "tenant": tenant, "role": "admin"}
        assert client.post("/v1/users", json=document).status_code == status
    assert [one for one in access.town.people.accounts() if one.login.startswith("mole")] == []


def test_an_admin_of_one_tenant_cannot_take_over_who_is_also_elsewhere(access: AccessTown) -> None:
    both = access.town.person(Grant(HERE, Role.VIEWER), Grant(THERE, Role.ADMIN))
    everywhere = access.town.person(Grant(HERE, Role.VIEWER), Grant(EVERY_TENANT, Role.AUDITOR))
    client = access.signed_in(access.town.person(Grant(HERE, Role.ADMIN)))
    for victim in (both, everywhere):
        shown = client.get(f"/v1/users/{victim.id}").json()
        assert [one["tenant"] for one in shown["grants"]] == [HERE], "and learns of no other tenant"
        for method, what, body in (
            ("POST", "reset", None),
            ("POST", "suspension", None),
            ("PUT", "openid-binding", BODIES["/v1/users/{user_id}/openid-binding"]),
        ):
            options = {} if body is None else {"json": body}
            assert client.ask(method, f"/v1/users/{victim.id}/{what}", **options).status_code == 404
        other = next(one.id for one in access.town.people.account_by_id(victim.id).held if one.grant.tenant != HERE)
        assert client.ask("DELETE", f"/v1/users/{victim.id}/grants/{other}").status_code == 404
        assert access.town.people.account_by_id(victim.id).active


# The rules that handlers ask, by themselves.


def caller(*grants: Grant) -> Caller:
    return Caller(
        Actor(ActorKind.USER, "anna@example.nl"), grants, 1, "anna@example.nl", "Anna", 1, recent=True, limited=False
    )


def place(longitude: float, latitude: float) -> SimpleNamespace:
    return SimpleNamespace(longitude=longitude, latitude=latitude)


def test_an_engineer_with_an_area_works_inside_it_only() -> None:
    anna = caller(Grant(HERE, Role.ENGINEER, Area.box(5.1, 52.2, 5.2, 52.3)))
    field = {Role.ENGINEER, Role.MANAGER}
    assert anna.may(field, HERE, place(5.15, 52.25))
    assert not anna.may(field, HERE, place(5.25, 52.25))
    assert not anna.may(field, HERE), "no position, no grant of an area"
    assert anna.may_somewhere(field, HERE)
    assert not anna.may_somewhere({Role.MANAGER}, HERE)


@pytest.mark.parametrize(
    ("tenant", "roles", "status"),
    [(HERE, {Role.VIEWER}, 200), (HERE, {Role.ADMIN}, 403), (THERE, {Role.VIEWER}, 404), (THERE, {Role.ADMIN}, 404)],
)
def test_what_is_anothers_is_404_and_what_is_ones_own_403(tenant: str, roles: set[Role], status: int) -> None:
    anna = caller(Grant(HERE, Role.VIEWER))
    if status == 200:
        anna.require(roles, tenant)
        return
    with pytest.raises(Problem) as refused:
        anna.require(roles, tenant)
    assert refused.value.status == status


def test_a_grant_for_all_tenants_reaches_each() -> None:
    boss = caller(Grant(EVERY_TENANT, Role.ADMIN))
    assert boss.may({Role.ADMIN}, THERE)
    assert boss.tenants({Role.ADMIN}) is None
    assert caller(Grant(HERE, Role.ADMIN)).tenants({Role.ADMIN}) == frozenset({HERE})
    assert not boss.may({Role.ENGINEER}, HERE), "an admin mounts no lamps"
