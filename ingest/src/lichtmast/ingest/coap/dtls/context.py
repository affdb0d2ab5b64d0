"""OpenSSL as we want it: DTLS 1.2, both sides by certificate, authenticated encryption, no way back into a session.

What OpenSSL verifies is the chain, its dates and its purpose. Who it is, and whether that device may speak, is asked of
the register's admission while OpenSSL verifies, so that a refused device is told by an alert.
"""

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto

from lichtmast.ingest.coap.dtls.settings import Dtls
from lichtmast.ingest.coap.settings import CoapSettingsError

GCM: Final = b"\xc0\x2b"
CCM: Final = b"\xc0\xac"
CCM_8: Final = b"\xc0\xae"
_SUITES: Final = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-CCM"
_SUITES_CCM_8: Final = b"ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0"
"""Its tag of 8 bytes is below OpenSSL's level 1 of 80 bits. So it gets a context of its own, for nobody else."""
_DTLS_1_2: Final = 0xFEFD
_CHAIN_CERTIFICATES_BETWEEN_MAX: Final = 0
"""Between a device's certificate and the authority that is trusted there is nothing."""

Judge = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]
"""OpenSSL's verify callback: connection, certificate, error, depth, whether OpenSSL found it sound."""


class Contexts:
    """The context for most devices, and the one for those that know only CCM_8."""

    def __init__(self, dtls: Dtls, judge: Judge) -> None:
        self._usual = _context(dtls, judge, _SUITES)
        self._ccm_8 = _context(dtls, judge, _SUITES_CCM_8) if dtls.ccm_8 else self._usual

    def choose(self, suites: bytes) -> SSL.Context:
        """The context for a client that offers these suites."""
        offered = {suites[at : at + 2] for at in range(0, len(suites), 2)}
        return self._ccm_8 if CCM_8 in offered and not offered & {GCM, CCM} else self._usual


def _context(dtls: Dtls, judge: Judge, suites: bytes) -> SSL.Context:
    context = SSL.Context(SSL.DTLS_SERVER_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_cipher_list(suites)
    context.set_tmp_ecdh(ec.SECP256R1())
    # No tickets and no cache: resumption once let peers past the cookie elsewhere (CVE-2022-2576), and would let a
    # revoked device past the verification. RELEASE_BUFFERS: an idle session costs 72 KB and not 92.
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU | SSL.OP_NO_COMPRESSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, judge)
    context.set_verify_depth(_CHAIN_CERTIFICATES_BETWEEN_MAX)
    # DTLSv1_listen puts a connection behind the cookie exchange; the exchange itself was ours, before there was one.
    context.set_cookie_generate_callback(lambda _connection: b"")
    context.set_cookie_verify_callback(lambda _connection, _cookie: True)
    try:
        context.use_certificate_chain_file(dtls.certificate)
        context.use_privatekey_file(dtls.key)
        context.check_privatekey()
        context.load_verify_locations(dtls.device_trust)
    except SSL.Error as error:
        raise CoapSettingsError(
            f"cannot speak DTLS with {dtls.certificate}, {dtls.key} and {dtls.device_trust}: they must be PEM files, a "
            "chain with its key and the authorities of devices; let the certificate authority write them again"
        ) from error
    store = context.get_cert_store()
    if store is None:  # pragma: no cover - OpenSSL makes one for each context
        raise CoapSettingsError("OpenSSL has no place for trusted authorities")
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # the authority of devices is trusted, not the root above it
    return context
