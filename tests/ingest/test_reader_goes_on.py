"""A reader whose fetch lost something on its way goes on from the hole, and its caller need not begin anew."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lichtmast.ingest.broker import Broker, BrokerSettings
from lichtmast.ingest.log import Log, Reader
from lichtmast.wire import topics

pytestmark = pytest.mark.slow
COUNT = 40


class Losing(Reader):
    """Some of what the broker sends to it never arrives: the first `lost` of one fetch, or the rest behind `kept`."""

    fault: tuple[str, int] | None = None

    async def _fetch(self, most: int) -> list[Any]:
        messages = await super()._fetch(most)
        fault, self.fault = self.fault, None
        if fault is None:
            return messages
        kind, count = fault
        return messages[count:] if kind == "lost" else messages[:count]


@pytest.mark.parametrize("fault", [("lost", 5), ("lost", 10), ("kept", 3), ("kept", 0)])
def test_what_was_lost_on_the_way_is_read_again_by_the_same_reader(
    fault: tuple[str, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> list[int]:
        async with (
            Broker(BrokerSettings(tmp_path, mqtt_port=0)) as broker,
            Log(broker.client_url, broker.user, broker.password) as log,
        ):
            for number in range(COUNT):
                await log.append(topics.COAP_DOOR_SUBJECT, b"%d" % number)
            got: list[int] = []
            async with Losing(log, topics.READINGS_STREAM, 0) as reader, asyncio.timeout(30):
                got += [one.stream_sequence for one in await reader.fetch(10)]
                reader.fault = fault
                while len(got) < COUNT:
                    got += [one.stream_sequence for one in await reader.fetch(10)]
            return got

    assert asyncio.run(scene()) == list(range(1, COUNT + 1))
    assert "log_read_again stream=READINGS from=" in caplog.text
