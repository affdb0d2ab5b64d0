"""Signing in with a real browser: a first-run link, an authenticator app, a passkey, and all without JavaScript."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from access_town import AccessTown, access_town
from people_town import HERE, PASSWORD, Person
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lichtmast.api import Broadcaster
from lichtmast.api.static_files import find_assets
from lichtmast.registry.people import Grant, Role

CHROMIUM = Path("/usr/bin/chromium")
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("needs Debian's chromium (scripts/system-packages)")
    if not find_assets().built:
        pytest.skip("web assets are not built: npm ci && npm run build in api/web")
    with sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield opened
        opened.close()


@pytest.fixture
def access(tmp_path: Path) -> Iterator[AccessTown]:
    with access_town(tmp_path) as opened:
        yield opened


@pytest.fixture
def address(access: AccessTown, serving: Callable[..., Any]) -> Iterator[str]:
    """Served by a name, because passkeys belong to names: http on loopback is as good as https to a browser."""
    ready = threading.Event()
    leave: list[Callable[[], object]] = []
    ports: list[str] = []

    async def serve() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        async with serving(access.build(public_url=None), Broadcaster()) as served:
            ports.append(served.rpartition(":")[2])
            leave.append(lambda: loop.call_soon_threadsafe(done.set))
            ready.set()
            await done.wait()

    server = threading.Thread(target=asyncio.run, args=(serve(),), name="served people")
    server.start()
    assert ready.wait(10)
    yield f"http://localhost:{ports[0]}"
    leave[0]()
    server.join(10)
    assert not server.is_alive()


def watched(page: Page) -> list[str]:
    """Everything that a page complains of."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    return complaints


def test_the_first_admin_sets_up_an_app_and_a_passkey_and_signs_in_with_it(
    browser: Browser, access: AccessTown, address: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    complaints = watched(page)
    devices = context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    link = access.town.people.first_run(at_us=access.town.now_us)
    page.goto(f"{address}/first-run#{link}")
    expect(page.locator("#code")).to_have_value(link or "")
    assert "#" not in page.url, "the secret is out of the address bar"
    page.get_by_label("Inlognaam").fill("anna@example.nl")
    page.get_by_label("Uw naam").fill("Anna")
    page.get_by_label("Nieuw wachtwoord").fill(PASSWORD)
    page.get_by_role("button", name="Verder").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Uw account")
    expect(page.get_by_text("Uw rollen gelden pas")).to_be_visible()

    page.get_by_role("button", name="Een app met codes instellen").click()
    expect(page.locator("img.qr")).to_be_visible()
    assert page.locator("img.qr").evaluate("one => one.naturalWidth") > 100, "the QR code is drawn"
    anna = Person(1, "anna@example.nl", page.locator("#totp-key").inner_text())
    page.get_by_label("Code die de app toont").fill(access.town.code(anna))
    page.get_by_role("button", name="Instellen", exact=True).click()
    expect(page.get_by_text("Er is een app met codes ingesteld.")).to_be_visible()
    expect(page.get_by_text("Uw rollen gelden pas")).to_have_count(0)

    page.get_by_role("button", name="Een passkey toevoegen").click()
    expect(page.get_by_text(re.compile(r"Passkey 20\d\d-"))).to_be_visible()
    page.get_by_role("button", name="Uitloggen", exact=True).click()
    expect(page).to_have_url(re.compile(r"/\?lang=nl$"))
    page.goto(f"{address}/account?lang=nl")
    expect(page).to_have_url(re.compile("/sign-in"))
    page.get_by_role("button", name="Inloggen met een passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Uw account")
    assert page.evaluate("fetch('/v1/session').then(one => one.json())")["secondFactor"] is True
    assert page.evaluate("document.cookie") == "", "no script sees the session"
    context.close()
    assert complaints == []
    events = [one.action for one in access.town.registry.audit_log.read(limit=100)]
    assert events.count("people.passkey_added") == 1


def test_password_and_code_sign_in_without_javascript(browser: Browser, access: AccessTown, address: str) -> None:
    anna = access.town.person(Grant(HERE, Role.ENGINEER))
    context = browser.new_context(java_script_enabled=False, viewport={"width": 320, "height": 640})
    page = context.new_page()
    page.goto(f"{address}/sign-in?lang=en&next=/account")
    page.get_by_label("Login").fill(anna.login)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Login, password or code is wrong.")
    expect(page.get_by_label("Login")).to_have_value(anna.login)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_label("Code").fill(access.town.next_code(anna))
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account")
    expect(page.get_by_text("mount: gm0402")).to_be_visible()
    context.close()


@pytest.mark.parametrize("path", ["/sign-in", "/first-run", "/invitation", "/sign-in/code"])
def test_pages_fit_a_small_phone_with_fields_for_a_thumb(browser: Browser, address: str, path: str) -> None:
    page = browser.new_page(viewport={"width": 320, "height": 640})
    complaints = watched(page)
    page.goto(address + path)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    small = page.evaluate(
        """() => [...document.querySelectorAll('main button, main input:not([type=hidden])')]
            .filter((one) => one.offsetParent).map((one) => one.getBoundingClientRect().height)
            .filter((height) => height < 47.5)"""
    )
    assert small == []
    page.close()
    assert complaints == []
