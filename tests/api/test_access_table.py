"""The table of needs is total: each route stands in it once, and what it says is what happens."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from access_town import AccessTown, access_town
from people_town import HERE
from starlette.routing import BaseRoute, Mount, Route

from lichtmast.api.access.need import Kind, Need
from lichtmast.api.access.table import NEEDS, Table
from lichtmast.api.est import create_est_app
from lichtmast.api.est.needs import EST_NEEDS
from lichtmast.registry.people import Grant, Role
from lichtmast.registry.pki import Authority

pytestmark = pytest.mark.slow  # a register, and people in it


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccessTown]:
    with access_town(tmp_path_factory.mktemp("table")) as opened:
        yield opened


def served(routes: list[BaseRoute]) -> set[tuple[str, str]]:
    """Method and path of everything that an application answers."""
    found: set[tuple[str, str]] = set()
    for one in routes:
        if isinstance(one, Mount):
            found.add(("GET", f"{one.path}/{{path:path}}"))
        elif isinstance(one, Route):
            found |= {(method, one.path) for method in (one.methods or set()) - {"HEAD"}}
        elif hasattr(one, "original_router"):  # FastAPI keeps an included router as one route
            found |= served(one.original_router.routes)
        else:
            raise AssertionError(f"a route of a kind that nobody thought of: {one!r}")
    return found


def test_every_route_of_the_application_is_in_the_table_and_nothing_else_is(access: AccessTown) -> None:
    assert served(access.app.routes) == set(NEEDS)


def test_every_route_of_the_enrolment_application_is_in_its_table(access: AccessTown) -> None:
    def authority() -> Authority:
        raise AssertionError("nobody enrols here")

    assert served(create_est_app(access.town.registry, authority).routes) == set(EST_NEEDS)


def test_the_search_for_routes_finds_what_it_should(access: AccessTown) -> None:
    found = served(access.app.routes)
    assert {
        ("POST", "/v1/claims"),
        ("GET", "/account"),
        ("GET", "/v1.1"),
        ("DELETE", "/v1/users/{user_id}/suspension"),
    } < found


def test_nothing_is_public_but_what_is_meant_to_be() -> None:
    public = {path for (_, path), need in NEEDS.items() if need is Need.PUBLIC}
    assert public == {
        "/", "/things/{thing_id}", "/things/{thing_id}/card.json", "/map.geojson", "/live", "/v1.1",
        "/v1.1/{path:path}", "/.well-known/security.txt", "/static/{path:path}",
        "/sign-in", "/sign-in/code", "/first-run", "/invitation",
    }  # fmt: skip
    unsafe = {(method, path) for (method, path), need in NEEDS.items() if need is Need.PUBLIC and method != "GET"}
    assert unsafe == set()


def test_a_need_of_roles_names_some() -> None:
    assert [key for key, need in NEEDS.items() if need.kind is Kind.ROLES and not need.roles] == []


@pytest.mark.parametrize(
    ("method", "path"), sorted(key for key, need in NEEDS.items() if need.kind in {Kind.SIGNED_IN, Kind.ROLES})
)
def test_a_stranger_gets_401_before_anything_is_looked_at(access: AccessTown, method: str, path: str) -> None:
    response = access.client().ask(method, filled(path), content=b"{" if method in {"POST", "PUT"} else None)
    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path"), sorted(key for key, need in NEEDS.items() if need.kind is Kind.ROLES))
def test_a_role_that_the_table_does_not_name_gets_403(access: AccessTown, method: str, path: str) -> None:
    wrong = sorted(set(Role) - NEEDS[method, path].roles)
    if not wrong:
        return  # any role will do
    client = access.signed_in(access.town.person(*(Grant(HERE, one) for one in wrong)))
    response = client.ask(method, filled(path), content=b"{" if method in {"POST", "PUT"} else None)
    assert response.status_code == 403, response.text


def filled(path: str) -> str:
    """An address of a template."""
    return re.sub(r"\{tenant\}", "gm0402", re.sub(r"\{name\}", "lamp-0001", re.sub(r"\{[a-z_]+id\}", "1", path)))


def test_a_literal_address_goes_before_a_template() -> None:
    table = Table(
        {("GET", "/a/{x}"): Need.SIGNED_IN, ("GET", "/a/b"): Need.PUBLIC, ("GET", "/{x:path}"): Need.OWN_CHECK}
    )
    rows = [table.find(path) for path in ("/a/b", "/a/c", "/z/z")]
    assert [None if row is None else row.path for row in rows] == ["/a/b", "/a/{x}", "/{x:path}"]


def test_a_route_that_is_not_in_the_table_is_not_served(tmp_path: Path) -> None:
    with access_town(tmp_path) as access:

        async def forgotten(_: object) -> None:
            raise AssertionError("a route without a row was reached")

        access.app.add_route("/v1/forgotten", forgotten, methods=["GET", "POST"])  # type: ignore[arg-type]
        assert access.client().get("/v1/forgotten").status_code == 404
        assert access.client().post("/v1/forgotten").status_code == 405
