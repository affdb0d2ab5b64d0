"""Why EST itself refuses, before the register is asked. What the register refuses has its own reasons."""

from enum import StrEnum


class EstReason(StrEnum):
    """One word for the counter and the log; docs/reference/est.md lists all."""

    TOO_MANY_REQUESTS = "too_many_requests"
    MEDIA_TYPE = "media_type"
    BODY_TOO_LARGE = "body_too_large"
    NOT_BASE64 = "not_base64"
    DISCONNECTED = "disconnected"
    NO_CERTIFICATE = "no_certificate"
    NO_SUCH_OPERATION = "no_such_operation"
    BUSY = "busy"
    CANNOT_ISSUE = "cannot_issue"
