"""Alerts, rules and maintenance windows as /v1 tells them, and how their refusals become problems."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, TypeVar

from lichtmast.api.problem import Problem, absent
from lichtmast.api.times import iso
from lichtmast.api.v1.reading import NOWHERE
from lichtmast.api.v1.views import View
from lichtmast.registry import ConflictError, UnknownRecordError
from lichtmast.registry.alerts import (
    AlertRule,
    AlertRuleError,
    Box,
    Entry,
    Episode,
    MaintenanceWindow,
    Refused,
    RefusedFor,
    document_of,
    sentence,
)
from lichtmast.registry.alerts.rules import scope_document
from lichtmast.registry.notifying import ChannelDocumentError, ChannelInUseError, UnknownChannelError

_ASKED_WRONG: Final = {RefusedFor.BAD_TEXT, RefusedFor.BAD_TIME}
_CORNERS: Final = 4
_Result = TypeVar("_Result")


def alert_view(one: Episode) -> View:
    """An alert, as it stands in the inbox."""
    facts = one.facts
    return {
        "id": one.id,
        "version": one.version,
        "state": one.state.value,
        "severity": one.severity.value,
        "tenant": facts.tenant,
        "ruleId": one.rule_id,
        "ruleVersion": one.rule_version,
        "rule": one.rule_name,
        "subject": one.subject,
        "name": facts.name,
        "device": facts.device,
        "assetId": facts.asset_id,
        "datastreamId": facts.datastream_id,
        "longitude": facts.longitude,
        "latitude": facts.latitude,
        "feeder": facts.feeder,
        "raisedAt": iso(one.raised_at_us),
        "lastRaisedAt": iso(one.last_raised_at_us),
        "clearedAt": _instant(one.cleared_at_us),
        "count": one.count,
        "value": one.value,
        "because": one.because,
        "endedBecause": one.ended_because,
        "owner": one.owner,
        "acknowledgedBy": one.acknowledged_by,
        "acknowledgedAt": _instant(one.acknowledged_at_us),
        "shelvedUntil": _instant(one.shelved_until_us),
        "shelvedBecause": one.shelved_because,
        "inMaintenance": one.in_maintenance,
        "maintenanceWindowId": one.window_id,
        "causeId": one.cause_id,
    }


def entry_view(one: Entry) -> View:
    """A line of an alert's history."""
    return {"at": iso(one.at_us), "what": one.kind.value, "by": one.by.name, "words": one.words}


def rule_view(rule: AlertRule) -> View:
    """A rule, in words and as the document that makes it."""
    return {
        "id": rule.id,
        "version": rule.version,
        "tenant": rule.tenant,
        "name": rule.name,
        "severity": rule.severity.value,
        "enabled": rule.enabled,
        "sentence": sentence(rule),
        "document": document_of(rule),
    }


def window_view(one: MaintenanceWindow) -> View:
    """A maintenance window."""
    return {
        "id": one.id,
        "tenant": one.tenant,
        "state": one.state.value,
        "scope": scope_document(one.scope),
        "from": iso(one.from_us),
        "until": iso(one.until_us),
        "workOrder": one.work_order,
        "note": one.note,
        "madeBy": one.made_by,
        "madeAt": iso(one.made_at_us),
    }


def done(outcome: Episode | Refused) -> Episode:
    """What was done. Raises a Problem where it was refused: 409, or 400 where other words would do."""
    if not isinstance(outcome, Refused):
        return outcome
    status = HTTPStatus.BAD_REQUEST if outcome.reason in _ASKED_WRONG else HTTPStatus.CONFLICT
    raise Problem(status, as_sentence(outcome.text), reason=outcome.reason.value)


def settled(work: Callable[[], _Result]) -> _Result:
    """Call the book; what it refuses becomes a Problem: 400, 404 or 409."""
    try:
        return work()
    except (AlertRuleError, ChannelDocumentError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, as_sentence(str(error)), reason="document") from error
    except (UnknownRecordError, UnknownChannelError) as error:
        raise absent(NOWHERE) from error
    except (ConflictError, ChannelInUseError) as error:
        raise Problem(HTTPStatus.CONFLICT, as_sentence(str(error)), reason="conflict") from error


def box_of(text: str) -> Box | None:
    """An area as a query has it: west,south,east,north; None where it is none."""
    try:
        corners = [float(one) for one in text.split(",")]
    except ValueError:
        return None
    if len(corners) != _CORNERS:
        return None
    box = Box(*corners)
    return box if -180 <= box.west < box.east <= 180 and -90 <= box.south < box.north <= 90 else None  # noqa: PLR2004 - degrees


def as_sentence(text: str) -> str:
    """What the register says to people, with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def _instant(at_us: int | None) -> str | None:
    return None if at_us is None else iso(at_us)
