"""What a secured link asks of the device's identity each time that it is opened."""

import asyncio
import ssl
from typing import Protocol

from lichtmast.edge.identity.errors import CertificateError, KeyFileError
from lichtmast.edge.identity.keeping import read_key_file
from lichtmast.edge.identity.tls import Credentials, Moment, client_context
from lichtmast.edge.uplink.errors import UplinkError


class Identity(Protocol):
    """The agent's caretaker, or what a self-test finds in the files."""

    def credentials(self) -> Credentials:
        """What to show. Raises CertificateError while there is nothing."""

    def moment(self) -> Moment:
        """What time it is, as certificates are judged."""


async def usable_credentials(identity: Identity) -> Credentials:
    """What to show, with a key that nobody else can read. Raises UplinkError."""
    try:
        credentials = identity.credentials()
        await asyncio.to_thread(read_key_file, credentials.key)
    except (CertificateError, KeyFileError) as error:
        raise UplinkError(str(error)) from error
    return credentials


async def tls_context(identity: Identity) -> ssl.SSLContext:
    """A context for TLS 1.3 with our certificate. Raises UplinkError."""
    credentials = await usable_credentials(identity)
    try:
        return await asyncio.to_thread(client_context, credentials.trust, credentials, only_13=True)
    except OSError as error:  # ssl.SSLError is one
        raise UplinkError("the kept certificate and key cannot be used; run lichtmast-edge check") from error
