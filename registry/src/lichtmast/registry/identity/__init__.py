"""Who a device is: its label and key, the claim that lets it in, its certificates, and who is admitted now.

`Registry.identity` is the way in, `Admission` what doors ask. Which key signs is `lichtmast.registry.pki`'s.
"""

from lichtmast.registry.identity.admission import SENTENCES, Admission, AdmissionReason, Admitted, Refused
from lichtmast.registry.identity.book import IdentityBook
from lichtmast.registry.identity.keys import PublicKeyError, read_public_key
from lichtmast.registry.identity.printing import label_svg, labels_pdf
from lichtmast.registry.identity.records import (
    CertificateRecord,
    Claim,
    ClaimState,
    Enrolled,
    Position,
    RevocationReason,
)
from lichtmast.registry.identity.refusals import (
    CLAIM_SENTENCES,
    ENROLMENT_SENTENCES,
    ClaimReason,
    ClaimRefused,
    EnrolmentPending,
    EnrolmentReason,
    EnrolmentRefused,
)

__all__ = [
    "CLAIM_SENTENCES",
    "ENROLMENT_SENTENCES",
    "SENTENCES",
    "Admission",
    "AdmissionReason",
    "Admitted",
    "CertificateRecord",
    "Claim",
    "ClaimReason",
    "ClaimRefused",
    "ClaimState",
    "Enrolled",
    "EnrolmentPending",
    "EnrolmentReason",
    "EnrolmentRefused",
    "IdentityBook",
    "Position",
    "PublicKeyError",
    "Refused",
    "RevocationReason",
    "label_svg",
    "labels_pdf",
    "read_public_key",
]
