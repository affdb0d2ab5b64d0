"""EST (RFC 7030, RFC 8951): how a node gets its certificate, renews it, and learns whom to trust.

For a listener of its own, over TLS only. The register decides who gets a certificate; this room speaks the protocol,
and bounds what anybody can make it do. Will not: make keys for nodes, full CMC, or passwords.
"""

from lichtmast.api.est.app import EstStatistics, create_est_app
from lichtmast.api.est.needs import EST_NEEDS
from lichtmast.api.est.payload import PayloadError
from lichtmast.api.est.reasons import EstReason

__all__ = ["EST_NEEDS", "EstReason", "EstStatistics", "PayloadError", "create_est_app"]
