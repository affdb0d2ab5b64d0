"""From where devices are connected now, by the broker's own list; and the task that writes it down once a minute.

The list is asked over the line that the callout has too, by the user that may do nothing else.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv6Address

from lichtmast.ingest.broker import Broker
from lichtmast.ingest.broker_settings import ACCOUNT, OWN_HOST, SYSTEM_USER
from lichtmast.ingest.callout.line import open_line
from lichtmast.ingest.errors import BrokerError
from lichtmast.registry import RegistryError
from lichtmast.registry.contacts import Bearer, Contact, ContactBook
from lichtmast.suite.silence import limits
from lichtmast.wire import DeviceId
from lichtmast.wire.identity import IdentityError

_log = logging.getLogger(__name__)

Sighted = Callable[[], Iterable[tuple[str, IPv6Address]]]
"""Devices and their addresses as a door sees them now."""


def read_contacts(answer: bytes, now_us: int) -> Sequence[Contact]:
    """Devices that the server lists as connected. Raises BrokerError for what is no list.

    Who connects as a device has been proven to be it, wherever there are certificates: the callout lets in nobody else.
    """
    try:
        listed = [(one.get("mqtt_client", ""), one.get("ip", "")) for one in json.loads(answer)["data"]["connections"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokerError("the list of connections cannot be read") from error
    found = []
    for client, address in listed:
        try:
            found.append(Contact(DeviceId.from_urn(client), Bearer.MQTT, IPv6Address(address), now_us))
        except (IdentityError, ValueError):
            continue  # ours, or whoever gave himself another name where everything is open
    return found


async def connected(broker: Broker, now_us: int, device: DeviceId | None = None) -> Sequence[Contact]:
    """Who is connected over MQTT now; only this device where one is given. Raises OSError or BrokerError."""
    wanted: dict[str, object] = {"acc": ACCOUNT, "limit": limits.LISTING_CONNECTIONS_MAX}
    if device is not None:
        wanted["mqtt_client"] = device.urn
    async with open_line(OWN_HOST, broker.client_port, SYSTEM_USER, broker.system_password) as line:
        told = await line.request(f"$SYS.REQ.SERVER.{line.server_id}.CONNZ", json.dumps(wanted).encode("ascii"))
    return read_contacts(told, now_us)


class ContactKeeper:
    """Writes down from where devices are heard, once a minute, what is news. Run `run()` as a task.

    `of_coap` tells the devices and addresses that the CoAP door has sessions with.
    """

    def __init__(
        self, broker: Broker, book: ContactBook, clock_us: Callable[[], int], of_coap: Sighted = tuple
    ) -> None:
        self._broker = broker
        self._book = book
        self._clock_us = clock_us
        self._of_coap = of_coap
        self._written: dict[tuple[DeviceId, Bearer], Contact] = {}

    async def run(self) -> None:
        """Look and write until cancelled; what cannot be asked or written now is so in the next round."""
        while True:
            try:
                await self.look()
            except (OSError, BrokerError, RegistryError) as error:
                _log.warning("contacts_not_written reason=%r", error)
            await asyncio.sleep(limits.CONTACT_ROUND_S)

    async def look(self) -> None:
        """One round."""
        now_us = self._clock_us()
        seen = {(one.device, one.bearer): one for one in await connected(self._broker, now_us)}
        for name, address in self._of_coap():
            device = DeviceId.parse(name)
            seen[device, Bearer.COAP] = Contact(device, Bearer.COAP, address, now_us)
        news = {key: one for key, one in seen.items() if self._is_news(key, one)}
        await asyncio.to_thread(self._book.note, list(news.values()), now_us=now_us)
        self._written = {key: one for key, one in self._written.items() if key in seen} | news

    def _is_news(self, key: tuple[DeviceId, Bearer], one: Contact) -> bool:
        before = self._written.get(key)
        return (
            before is None or before.address != one.address or one.heard_us - before.heard_us >= limits.CONTACT_AGAIN_US
        )
