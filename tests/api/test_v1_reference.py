"""The management API behind the real gate: the reference over TLS with a real token, and tokens that are too little."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from est_town import OTHER_TENANT, TENANT, EstTown, serving
from fastapi import FastAPI
from people_town import CountingPasswords, PeopleTown
from v1_examples import BESIDE, OF_NOBODY, v1_examples

from lichtmast.api import ApiSettings, Broadcaster, create_app
from lichtmast.api.management import Management
from lichtmast.api.v1 import V1_NEEDS
from lichtmast.registry.people import EVERY_TENANT, Grant, PeopleBook, Role, Seal
from lichtmast.store.memory import MemoryStore

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Whole:
    """The application as it is served, and its people."""

    town: EstTown
    people: PeopleTown
    app: FastAPI
    store: MemoryStore

    def token(self, *grants: Grant) -> str:
        self.people.now_us = max(self.people.now_us, self.town.now_us())
        person = self.people.person(*grants)
        self.town.shift_us += 300_000_000  # the codes of a person's authenticator need time to pass
        return self.people.token(person, grants)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("whole")
    passwords = CountingPasswords()
    with (
        EstTown.open(folder) as town,
        PeopleBook.open(folder / "registry.sqlite", Seal.from_secret(b"k" * 32), passwords=passwords) as people,
    ):
        store = MemoryStore()
        app = create_app(
            town.registry,
            store,
            Broadcaster(),
            ApiSettings(catalogue_check_interval_s=0.0),
            clock_us=town.now_us,
            management=Management(people, lambda: town.authority, **BESIDE),
        )
        yield Whole(town, PeopleTown(town.registry, people, passwords), app, store)
        store.close()


def example() -> str:
    """The shell commands that the reference shows."""
    page = (REPOSITORY / "docs/reference/management-api.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    return str(block)


@pytest.mark.slow
def test_curl_claims_looks_and_cancels_as_the_reference_says(whole: Whole, tmp_path: Path) -> None:
    town = whole.town
    label = town.node("lamp-0001").label(town.authority.root_pin).text
    (tmp_path / "scan.json").write_text(json.dumps({"label": label, "assetId": town.assets[TENANT][0].id}))
    (tmp_path / "root.pem").write_bytes(town.authority.root_pem)
    (tmp_path / "authorization").write_text(f"Authorization: Bearer {whole.token(Grant(TENANT, Role.MANAGER))}\n")
    with serving(whole.app, town.tls_files("pages")) as port:
        script = re.sub(r"(?m)^API=\S+", f"API=https://[::1]:{port}", example())
        script = re.sub(r"(?m)^(\$curl.*?)(  +#.*)?$", r"\1; echo", script)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr + done.stdout
    nearest, opened, looked, listed, shown, cancelled = map(json.loads, done.stdout.splitlines())
    assert nearest["items"][0]["id"] == town.assets[TENANT][0].id
    assert opened["state"] == looked["state"] == "open"
    assert [one["device"] for one in listed["items"]] == [f"{TENANT}/lamp-0001"]
    assert shown["status"] == "claimed"
    assert cancelled["state"] == "cancelled"


@pytest.mark.slow
def test_no_token_of_another_tenant_or_role_gets_anything_out_of_v1(whole: Whole, tmp_path: Path) -> None:
    """Every route with a request that would succeed, over TLS."""
    town = whole.town
    examples = v1_examples(
        town.registry,
        TENANT,
        town.assets[TENANT],
        root_pin=town.authority.root_pin,
        now_us=town.now_us(),
        store=whole.store,
    )
    assert set(examples) == set(V1_NEEDS)
    (tmp_path / "root.pem").write_bytes(town.authority.root_pem)
    stranger = whole.token(*(Grant(OTHER_TENANT, role) for role in Role))
    weak = whole.token(Grant(TENANT, Role.VIEWER))
    strong = whole.token(*(Grant(EVERY_TENANT, role) for role in Role))
    before = town.registry.revision()
    with serving(whole.app, town.tls_files("pages")) as port:

        def status(key: tuple[str, str], token: str | None) -> int:
            one = examples[key]
            url = f"https://[::1]:{port}{one.url}"
            options = ["--cacert", "root.pem", "-s", "-g", "-o", "answer", "-w", "%{http_code}", "-X", key[0], url]
            if token is not None:
                options += ["-H", f"Authorization: Bearer {token}"]
            if one.body is not None:
                options += ["-H", "Content-Type: application/json", "-d", json.dumps(one.body)]
            done = subprocess.run(
                ["curl", *options], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
            )
            return int(done.stdout)

        for key, need in V1_NEEDS.items():
            assert status(key, None) == 401, key
            assert status(key, "lm_00000000_" + "x" * 43) == 401, key
            if key not in OF_NOBODY:
                assert status(key, stranger) == 404, key
            if Role.VIEWER not in need.roles:
                assert status(key, weak) == 403, key
        assert town.registry.revision() == before, "nothing was changed by any of it"
        for key in V1_NEEDS:
            assert status(key, strong) in {200, 201}, (key, (tmp_path / "answer").read_text())
