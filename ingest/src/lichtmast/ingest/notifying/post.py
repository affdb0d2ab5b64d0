"""The post: one letter to one channel, whatever its kind, and the answer in words."""

import asyncio
import ssl
from collections.abc import Callable

from lichtmast.ingest.notifying.mail import send_mail
from lichtmast.ingest.notifying.mqtt import BrokerLine, send_mqtt
from lichtmast.ingest.notifying.settings import NotifyingSettings
from lichtmast.ingest.notifying.webhook import send_webhook
from lichtmast.registry.errors import RegistryError
from lichtmast.registry.notifying import Answer, ChannelKind, Letter


class Post:
    """Sends; remembers nothing. `secret_of` gives a webhook's secret by the channel's id."""

    def __init__(
        self,
        settings: NotifyingSettings,
        line: BrokerLine,
        secret_of: Callable[[int], bytes],
        clock_us: Callable[[], int],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._line = line
        self._secret_of = secret_of
        self._clock_us = clock_us
        self._tls = tls or ssl.create_default_context()

    async def send(self, letter: Letter) -> Answer:
        """One attempt. Whatever goes wrong out there is an answer, not an exception."""
        settings = self._settings
        match letter.channel.draft.kind:
            case ChannelKind.EMAIL:
                return await send_mail(letter, settings.smtp, settings.page_url, self._clock_us())
            case ChannelKind.WEBHOOK:
                try:
                    secret = await asyncio.to_thread(self._secret_of, letter.channel.id)
                except RegistryError as error:
                    return Answer(accepted=False, words=str(error))
                return await send_webhook(letter, secret, settings, self._clock_us(), self._tls)
            case ChannelKind.MQTT:
                return await send_mqtt(letter, self._line, settings)
