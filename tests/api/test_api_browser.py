"""The pages in a real browser: live readings appear, the map draws, nothing leaves the site, no policy is broken."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lichtmast.api import Broadcaster
from lichtmast.api.static_files import find_assets

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
HOSTILE = "<img src=x onerror=alert(1)>"
NOW_US = 1_795_293_000_000_000

pytestmark = [pytest.mark.system, pytest.mark.slow]


class Town(Protocol):
    """The part of the fixture that these tests read."""

    series: dict[int, tuple[int, ...]]


@dataclass
class Watched:
    """A served town, and everything that a page did that it should not do."""

    address: str
    publish: Callable[[int, float], None]
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Note errors, broken policies, foreign and failed requests."""
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on(
            "console",
            lambda line: self.complaints.append(f"console: {line.text}") if line.type == "error" else None,
        )
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((self.address, "data:", f"blob:{self.address}"))
                else self.complaints.append(f"foreign: {request.url}")
            ),
        )
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("needs Debian's chromium (scripts/system-packages)")
    if not find_assets().built:
        pytest.skip("web assets are not built: npm ci && npm run build in api/web")
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def watched(make_app: Callable[..., Any], serving: Callable[..., Any], table: Callable[..., Any]) -> Iterator[Watched]:
    """Serve in a thread of its own: the browser's driver has this one."""
    broadcaster = Broadcaster(interval_s=0.05)
    ready = threading.Event()
    leave: list[Callable[[], object]] = []
    addresses: list[str] = []

    async def serve() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        async with serving(make_app(broadcaster=broadcaster), broadcaster) as address:
            addresses.append(address)
            leave.append(lambda: loop.call_soon_threadsafe(done.set))
            ready.set()
            await done.wait()

    server = threading.Thread(target=asyncio.run, args=(serve(),), name="served town")
    server.start()
    assert ready.wait(10)

    def publish(datastream: int, value: float) -> None:
        broadcaster.publish_nowait(table((datastream, NOW_US + 30_000_000, value, 0)), 5)

    yield Watched(addresses[0], publish)
    leave[0]()
    server.join(10)
    assert not server.is_alive()


def test_live_readings_appear_and_the_map_draws_without_complaint(
    browser: Browser, watched: Watched, town: Town
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    watched.watch(page)
    page.goto(watched.address)
    expect(page.locator("lm-live")).to_have_attribute("data-connection", "on", timeout=10_000)
    expect(page.locator("lm-map")).to_have_attribute("data-ready", "8", timeout=20_000)
    value = page.locator(f'[data-datastream="{town.series[1][0]}"]')
    expect(value).to_have_text("21,0\N{NO-BREAK SPACE}°C")
    watched.publish(town.series[1][0], -3.25)
    expect(value).to_have_text(re.compile(r"-3,[23]\s°C"), timeout=5_000)
    # A lamppost that was silent speaks.
    badge = page.locator('[data-state-of="5"]')
    expect(badge).to_have_class(re.compile("silent"))
    watched.publish(town.series[5][0], 1.0)
    expect(badge).to_have_class(re.compile("fresh"), timeout=5_000)
    expect(badge).to_have_text("Meet nu")
    page.close()
    assert watched.complaints == []


def test_a_popup_shows_a_hostile_name_as_text(browser: Browser, watched: Watched) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    watched.watch(page)
    page.goto(watched.address)
    expect(page.locator("lm-map")).to_have_attribute("data-ready", "8", timeout=20_000)
    box = page.locator(".map-canvas").bounding_box()
    assert box is not None
    # Eight lampposts stand in one row from west to east, 40 pixels from both edges: the second one.
    page.mouse.click(box["x"] + 40 + (box["width"] - 80) / 7, box["y"] + box["height"] / 2)
    expect(page.locator(".card h3")).to_have_text(HOSTILE, timeout=10_000)
    expect(page.locator(".card img")).to_have_count(0)
    expect(page.locator(".card a")).to_have_attribute("href", "/things/2?lang=nl")
    page.close()
    assert watched.complaints == []


def test_everything_can_be_read_without_javascript(browser: Browser, watched: Watched) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    watched.watch(page)
    page.goto(watched.address)
    expect(page.locator(".post")).to_have_count(8)
    expect(page.locator("lm-map")).to_contain_text("De kaart werkt alleen met JavaScript")
    expect(page.locator("lm-live")).to_be_hidden()
    page.locator("#search").fill("Kerkstraat 6")
    page.get_by_role("button", name="Zoek").click()
    page.get_by_role("link", name="Kerkstraat 6").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Kerkstraat 6")
    page.locator("summary").first.click()
    expect(page.locator(".day table").first).to_be_visible()
    context.close()
    assert watched.complaints == []


@pytest.mark.parametrize("path", ["/", "/things/1", "/things/6?lang=en"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_small_phone_with_targets_for_a_thumb(
    browser: Browser, watched: Watched, path: str, scheme: Literal["light", "dark"]
) -> None:
    page = browser.new_page(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    watched.watch(page)
    page.goto(watched.address + path)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    small = page.evaluate(
        """() => [...document.querySelectorAll('a, button, input:not([type=hidden]), summary')]
            .filter((one) => one.offsetParent && !one.matches('.skip'))
            .map((one) => [one.textContent.trim(), one.getBoundingClientRect().height])
            .filter(([, height]) => height < 47.5)"""
    )
    assert small == []
    page.close()
    assert watched.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/things/6"])
def test_text_has_the_contrast_of_wcag_aa(
    browser: Browser, watched: Watched, path: str, scheme: Literal["light", "dark"]
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    page.goto(watched.address + path)
    poor = page.evaluate(
        """() => {
          const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
          const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const ground = (one) => {
            for (; one; one = one.parentElement) {
              const colour = rgb(getComputedStyle(one).backgroundColor);
              if (colour.length === 3 || colour[3] === 1) return colour;
            }
            return [255, 255, 255];
          };
          const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          const poor = [];
          while (walker.nextNode()) {
            const one = walker.currentNode.parentElement;
            if (!walker.currentNode.data.trim() || !one.offsetParent || one.closest('.maplibregl-map, .skip')) continue;
            const pair = [light(rgb(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => b - a);
            const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
            if (ratio < 4.5) poor.push([one.className, walker.currentNode.data.trim().slice(0, 30), ratio]);
          }
          return poor;
        }"""
    )
    page.close()
    assert poor == []


def test_the_keyboard_reaches_the_content_first(browser: Browser, watched: Watched) -> None:
    page = browser.new_page()
    page.goto(watched.address + "/things/1")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.close()
