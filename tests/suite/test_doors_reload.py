"""Certificates that change while doors are open: each door takes them by itself, and is asked again until it does."""

import asyncio
from pathlib import Path

import pytest

from lichtmast.suite import own_certificates
from lichtmast.suite.folder import Folder
from lichtmast.suite.own_certificates import OwnCertificates
from lichtmast.suite.unlock import unlock_secret


def test_a_door_that_cannot_reload_stops_no_other_and_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_certificates, "CHECK_S", 0.01)
    folder = Folder(tmp_path)
    mine = OwnCertificates(folder, unlock_secret(folder), ["::1"], chance=0.5)
    page, key = tmp_path / "page.pem", tmp_path / "page.key"
    page.write_bytes(mine.certificate.read_bytes())
    key.write_text("one")
    mine.watch(page, key)
    asked: list[str] = []

    async def story() -> None:
        whole = asyncio.Event()

        async def broken_twice() -> None:
            asked.append("pages")
            if asked.count("pages") < 3:
                raise ValueError("the key does not fit")
            whole.set()

        async def sound() -> None:
            asked.append("mqtt")

        mine.on_change("pages", broken_twice)
        mine.on_change("mqtt", sound)
        task = asyncio.create_task(mine.run(), name="certificates")
        await asyncio.sleep(0)
        key.write_text("another")
        async with asyncio.timeout(20):
            await whole.wait()
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(story())
    assert asked.count("pages") == 3
    assert asked.count("mqtt") == 1
