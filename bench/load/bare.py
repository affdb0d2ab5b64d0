"""The least that a handshake can cost on this machine: both sides in memory, OpenSSL, the same certificates."""

import ssl
import time

from bench.load.town import Town

from lichtmast.suite.folder import Folder

HANDSHAKES = 100


def bare_handshake_ms(folder: Folder, town: Town) -> float:
    """CPU milliseconds of both sides together for a TLS 1.3 handshake with a certificate on both sides."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(folder.certificates / "server.pem", folder.certificates / "server.key")
    served.load_verify_locations(folder.certificates / "device-trust.pem")
    served.verify_mode = ssl.CERT_REQUIRED
    served.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    contexts = [town.tls(number % town.devices) for number in range(HANDSHAKES)]
    started_s = time.process_time()
    for context in contexts:
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        sides = [
            context.wrap_bio(down, up, server_hostname="::1"),
            served.wrap_bio(up, down, server_side=True),
        ]
        while sides:
            sides = [side for side in sides if not _done(side)]
    return (time.process_time() - started_s) / HANDSHAKES * 1e3


def _done(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
