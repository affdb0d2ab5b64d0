"""A message in words for people, in Dutch or English: what, where, why, and the next step. Pure.

Names and reasons are text that others chose; they arrive as one line of characters that print (`Notice.facts`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from lichtmast.ingest.notifying.cloud_event import link_of
from lichtmast.ingest.notifying.limits import SUBJECT_CHARACTERS_MAX
from lichtmast.registry.notifying import Letter, Notice

_ZONE: Final = ZoneInfo("Europe/Amsterdam")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_DUTCH: Final = MappingProxyType(
    {
        "info": "ter informatie",
        "warning": "waarschuwing",
        "critical": "kritiek",
        "raised": "{severity}: {name}, {rule}",
        "returned": "weer open, {severity}: {name}, {rule}",
        "escalated": "nog open, {severity}: {name}, {rule}",
        "cleared": "voorbij: {name}, {rule}",
        "test": "test van kanaal {rule}",
        "many": "{count} meldingen, waarvan {critical} kritiek",
        "hello": "Lichtmast meldt:",
        "why": "Waarom: {because}",
        "escalated_from": "Niemand bevestigde dit op kanaal {channel}.",
        "step": "Volgende stap: open de melding, of bevestig haar met `lichtmast alert ack {id}`. Wie bevestigt, is er"
        " mee bezig; dan wordt niemand anders meer gewaarschuwd.",
        "step_cleared": "Volgende stap: geen, het is vanzelf voorbij. De geschiedenis staat bij de melding.",
        "step_test": "Volgende stap: geen. Wie dit leest, krijgt ook de echte meldingen van dit kanaal.",
    }
)
_ENGLISH: Final = MappingProxyType(
    {
        "info": "information",
        "warning": "warning",
        "critical": "critical",
        "raised": "{severity}: {name}, {rule}",
        "returned": "open again, {severity}: {name}, {rule}",
        "escalated": "still open, {severity}: {name}, {rule}",
        "cleared": "over: {name}, {rule}",
        "test": "test of channel {rule}",
        "many": "{count} notices, {critical} of them critical",
        "hello": "Lichtmast says:",
        "why": "Why: {because}",
        "escalated_from": "Nobody acknowledged this on channel {channel}.",
        "step": "Next step: open the alert, or acknowledge it with `lichtmast alert ack {id}`. Who acknowledges is at"
        " work on it, and nobody else is told any more.",
        "step_cleared": "Next step: none, it is over. Its history stands with the alert.",
        "step_test": "Next step: none. Who reads this gets the real notices of this channel too.",
    }
)
TEXTS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({"nl": _DUTCH, "en": _ENGLISH})


@dataclass(frozen=True, slots=True)
class Words:
    """A subject of one line, and a text."""

    subject: str
    text: str


def in_words(letter: Letter, page_url: str) -> Words:
    """The message in the channel's language."""
    texts = TEXTS[letter.channel.draft.language]
    first, *more = letter.notices
    subject = _headline(first, texts)
    if more:
        critical = sum(one.severity == "critical" for one in letter.notices)
        subject = texts["many"].format(count=len(letter.notices), critical=critical)
    parts = [_part(one, texts, page_url) for one in letter.notices]
    return Words(subject[:SUBJECT_CHARACTERS_MAX], "\n\n".join([texts["hello"], *parts, _step(letter, texts)]) + "\n")


def _headline(notice: Notice, texts: Mapping[str, str]) -> str:
    # `format` puts values in and does not look into them: braces in a name stay braces.
    form = texts.get(notice.event, texts["raised"])
    return form.format(severity=texts[notice.severity], name=notice.name or notice.subject, rule=notice.rule)


def _part(notice: Notice, texts: Mapping[str, str], page_url: str) -> str:
    local = (_EPOCH + timedelta(microseconds=notice.at_us)).astimezone(_ZONE)
    lines = [f"{local:%d-%m-%Y %H:%M %Z}  {_headline(notice, texts)}"]
    if notice.because:
        lines.append(texts["why"].format(because=notice.because))
    if notice.escalated_from:
        lines.append(texts["escalated_from"].format(channel=notice.escalated_from))
    if notice.event != "test":
        lines.append(link_of(notice, page_url))
    return "\n".join(lines)


def _step(letter: Letter, texts: Mapping[str, str]) -> str:
    waiting = [one for one in letter.notices if one.event not in {"cleared", "test"}]
    if waiting:
        return texts["step"].format(id=waiting[0].episode_id)
    return texts["step_test" if letter.notices[0].event == "test" else "step_cleared"]
