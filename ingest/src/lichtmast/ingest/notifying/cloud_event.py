"""A message as a CloudEvent 1.0 in JSON, structured mode, after the NL GOV profile. Pure.

The id is the message's, so that a receiver can drop a second copy; the content of copies is the same.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lichtmast.ingest.notifying.settings import NotifyingSettings
from lichtmast.registry.notifying import Letter, Notice

CONTENT_TYPE: Final = "application/cloudevents+json"
TYPE: Final = "nl.lichtmast.alert.notices"
TEST_TYPE: Final = "nl.lichtmast.alert.test"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def link_of(notice: Notice, page_url: str) -> str:
    """Where an alert can be read."""
    return f"{page_url}v1/alerts/{notice.episode_id}"


def cloud_event(letter: Letter, settings: NotifyingSettings) -> bytes:
    """The whole of it as bytes."""
    is_test = letter.notices[0].event == "test"
    event = {
        "specversion": "1.0",
        "id": letter.id,
        "source": settings.source,
        "type": TEST_TYPE if is_test else TYPE,
        "subject": letter.channel.draft.tenant,
        "time": _time(letter.at_us),
        "datacontenttype": "application/json",
        "data": {"notices": [_notice(one, settings.page_url) for one in letter.notices]},
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _notice(notice: Notice, page_url: str) -> dict[str, Any]:
    told = {
        "id": notice.id,
        "alert": notice.episode_id,
        "event": notice.event,
        "time": _time(notice.at_us),
        "severity": notice.severity,
        "rule": notice.rule,
        "subject": notice.subject,
        "name": notice.name,
        "because": notice.because,
        "link": link_of(notice, page_url),
    }
    return told | ({"escalatedFrom": notice.escalated_from} if notice.escalated_from else {})


def _time(at_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
