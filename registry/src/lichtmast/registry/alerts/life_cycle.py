"""The life of an alert, as a pure state machine: episode in, changed episode out, with what to note and whom to tell.

One episode runs from the first raising to the last clearing; flaps are counted in it. States: new -> acknowledged ->
shelved -> cleared, in any order that makes sense; what does not is a `Refused` that names the next step. Moments called
`now_us` are the server's clock, those of transitions are event time.

Who is told: a raised notice once, a cleared notice once that one was sent and nothing came back within the rule's
`fold_s`. Nothing while it is shelved, in maintenance, or while the alert of its group speaks for it.
"""

from dataclasses import replace

from lichtmast.registry.alerts import limits
from lichtmast.registry.alerts.episode import (
    Around,
    Change,
    Entry,
    EntryKind,
    Episode,
    EpisodeState,
    Notice,
    NoticeEvent,
    Refused,
    RefusedFor,
    Untaken,
)
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.registry.alerts.scope import Facts
from lichtmast.registry.alerts.steps import Transition
from lichtmast.registry.auditing import SYSTEM, Actor

# What the evaluation says.


def begin(episode_id: int, rule: AlertRule, facts: Facts, raised: Transition, around: Around, now_us: int) -> Change:
    """A new episode."""
    episode = Episode(
        id=episode_id,
        rule_id=rule.id,
        rule_version=raised.rule_version,
        rule_name=rule.name,
        severity=rule.severity,
        facts=facts,
        state=EpisodeState.NEW,
        reopens_as=EpisodeState.NEW,
        raised_at_us=raised.at_us,
        last_raised_at_us=raised.at_us,
        cleared_at_us=None,
        count=1,
        value=raised.value,
        because=raised.because,
        ended_because=None,
        owner=None,
        acknowledged_by=None,
        acknowledged_at_us=None,
        shelved_until_us=None,
        shelved_because=None,
        window_id=around.window_id,
        in_maintenance=around.window_id is not None,
        cause_id=around.cause_id,
        grouped=around.cause_id is not None,
        told=False,
        version=1,
    )
    entries = (Entry(raised.at_us, EntryKind.RAISED, SYSTEM, raised.because), *_surroundings(around, raised.at_us))
    return _told(Change(episode, entries), raised.at_us, now_us + around.hold_s * 1_000_000)


def again(
    episode: Episode, rule: AlertRule, raised: Transition, around: Around, untaken: Untaken, now_us: int
) -> Change | None:
    """Raised while it is open, or within the fold of its clearing. None where that says nothing new."""
    if episode.is_open:
        if raised.rule_version <= episode.rule_version:
            return None
        entry = Entry(raised.at_us, EntryKind.RAISED_AGAIN, SYSTEM, f"version {raised.rule_version}: {raised.because}")
        newer = replace(
            episode,
            rule_version=raised.rule_version,
            severity=rule.severity,
            value=raised.value,
            because=raised.because,
        )
        return Change(newer, (entry,))
    state = episode.reopens_as
    if state is EpisodeState.SHELVED and (episode.shelved_until_us or 0) <= now_us:
        state = EpisodeState.NEW
    reopened = replace(
        _off_the_shelf(episode) if state is EpisodeState.NEW else episode,
        state=state,
        reopens_as=state,
        rule_version=raised.rule_version,
        severity=rule.severity,
        last_raised_at_us=raised.at_us,
        cleared_at_us=None,
        ended_because=None,
        count=episode.count + 1,
        value=raised.value,
        because=raised.because,
        window_id=around.window_id or episode.window_id,
        in_maintenance=around.window_id is not None,
        cause_id=around.cause_id or episode.cause_id,
        grouped=around.cause_id is not None,
    )
    entries: tuple[Entry, ...] = ()
    if reopened.count <= limits.FLAPS_NOTED_MAX:
        noted = Entry(raised.at_us, EntryKind.RAISED_AGAIN, SYSTEM, raised.because)
        entries = (noted, *_surroundings(around, raised.at_us))
    if NoticeEvent.CLEARED in untaken:
        return Change(replace(reopened, told=True), entries, withdraw=(NoticeEvent.CLEARED,))
    return _told(Change(reopened, entries), raised.at_us, now_us + around.hold_s * 1_000_000)


def is_same(episode: Episode, rule: AlertRule, at_us: int) -> bool:
    """Whether a raising at this moment belongs to this episode, the newest of its rule and subject."""
    return episode.cleared_at_us is None or at_us - episode.cleared_at_us <= rule.fold_s * 1_000_000


def end(
    episode: Episode,
    because: str,
    fold_s: float,
    untaken: Untaken,
    *,
    at_us: int,
    now_us: int,
    by: Actor = SYSTEM,
    by_hand: bool = False,
) -> Change | None:
    """It is over; None where it was already. Cleared by hand and raised again, it is new, whatever it was before."""
    if not episode.is_open:
        return None
    over = replace(
        episode,
        state=EpisodeState.CLEARED,
        reopens_as=EpisodeState.NEW if by_hand else episode.state,
        cleared_at_us=at_us,
        ended_because=because,
        told=False,
    )
    is_noted = by_hand or episode.count <= limits.FLAPS_NOTED_MAX
    moment_us = now_us if by_hand else at_us
    entries = (Entry(moment_us, EntryKind.CLEARED, by, because),) if is_noted else ()
    withdraw = tuple(event for event in (NoticeEvent.RETURNED,) if event in untaken)
    if not episode.told:
        return Change(over, entries, withdraw=withdraw)
    if untaken.get(NoticeEvent.RAISED, now_us) > now_us:  # held back and over: nobody needs to hear of it
        return Change(over, entries, withdraw=(NoticeEvent.RAISED, *withdraw))
    due_us = now_us + int(fold_s * 1_000_000)
    return Change(over, entries, (Notice(NoticeEvent.CLEARED, at_us, due_us),), withdraw)


# What time, windows and causes do.


def as_of(episode: Episode, now_us: int) -> Episode:
    """The episode as readers see it: a shelf that has ended is over, whether or not that was written down yet."""
    return episode if not shelf_is_over(episode, now_us) else _off_the_shelf(episode)


def shelf_is_over(episode: Episode, now_us: int) -> bool:
    """Whether it is still marked as shelved and should be so no longer."""
    return episode.state is EpisodeState.SHELVED and (episode.shelved_until_us or 0) <= now_us


def shelf_over(episode: Episode, now_us: int) -> Change:
    """Its time on the shelf is over: it is new again, and whoever was told of it once is told so."""
    until_us = episode.shelved_until_us or now_us
    back = _off_the_shelf(episode)
    words = f"shelved until now: {episode.shelved_because}"
    entries = (Entry(until_us, EntryKind.SHELF_ENDED, SYSTEM, words),)
    if not back.told or back.is_quiet:
        return _told(Change(back, entries), until_us, now_us)
    return Change(back, entries, (Notice(NoticeEvent.RETURNED, until_us, now_us),))


def maintenance_began(episode: Episode, window_id: int, now_us: int) -> Change:
    """A maintenance window began that covers it."""
    entry = Entry(now_us, EntryKind.MAINTENANCE_BEGAN, SYSTEM, f"maintenance window {window_id}")
    return Change(replace(episode, window_id=window_id, in_maintenance=True), (entry,))


def maintenance_ended(episode: Episode, now_us: int) -> Change:
    """The window is over and the alert is not: now people are told."""
    entry = Entry(now_us, EntryKind.MAINTENANCE_ENDED, SYSTEM, f"maintenance window {episode.window_id} is over")
    return _told(Change(replace(episode, in_maintenance=False), (entry,)), episode.last_raised_at_us, now_us)


def cause_found(episode: Episode, cause_id: int, untaken: Untaken, now_us: int) -> Change:
    """The alert of its group speaks for it from now on; its own notice is taken back where nobody has it yet."""
    entry = Entry(now_us, EntryKind.CAUSE_FOUND, SYSTEM, f"alert {cause_id} speaks for it")
    withdraw = (NoticeEvent.RAISED,) if NoticeEvent.RAISED in untaken else ()
    grouped = replace(episode, cause_id=cause_id, grouped=True, told=episode.told and not withdraw)
    return Change(grouped, (entry,), withdraw=withdraw)


def cause_ended(episode: Episode, now_us: int) -> Change:
    """The alert of its group is over and this one is not: it speaks for itself, unless it ends within the hold."""
    entry = Entry(now_us, EntryKind.CAUSE_ENDED, SYSTEM, f"alert {episode.cause_id} is over, this one is not")
    due_us = now_us + limits.GROUPING_HOLD_S * 1_000_000
    return _told(Change(replace(episode, grouped=False), (entry,)), episode.last_raised_at_us, due_us)


# What people do.


def acknowledge(episode: Episode, by: Actor, now_us: int) -> Change | Refused:
    """Somebody has it."""
    match episode.state:
        case EpisodeState.CLEARED:
            return _over(episode)
        case EpisodeState.ACKNOWLEDGED:
            text = f"{episode.acknowledged_by} has acknowledged it already; take it over by assigning it to yourself"
            return Refused(RefusedFor.ACKNOWLEDGED, text, episode)
        case EpisodeState.SHELVED:
            return Refused(RefusedFor.SHELVED, "it is shelved; take it off the shelf first", episode)
    state = EpisodeState.ACKNOWLEDGED
    seen = replace(episode, state=state, reopens_as=state, acknowledged_by=by.name, acknowledged_at_us=now_us)
    return Change(seen, (Entry(now_us, EntryKind.ACKNOWLEDGED, by),))


def shelve(episode: Episode, until_us: int, reason: str, by: Actor, now_us: int) -> Change | Refused:
    """Look away until a moment, for a reason. A shelved one gets the new end."""
    if not episode.is_open:
        return _over(episode)
    if not now_us < until_us <= now_us + limits.SHELF_S_MAX * 1_000_000:
        days = limits.SHELF_S_MAX // 86_400
        text = f"it can be shelved until a moment in the next {days} days; give another end"
        return Refused(RefusedFor.BAD_TIME, text, episode)
    if not is_text(reason):
        return _wordless(episode, "reason")
    state = EpisodeState.SHELVED
    shelved = replace(episode, state=state, reopens_as=state, shelved_until_us=until_us, shelved_because=reason.strip())
    return Change(shelved, (Entry(now_us, EntryKind.SHELVED, by, reason.strip()),))


def unshelve(episode: Episode, by: Actor, now_us: int) -> Change | Refused:
    """Take it off the shelf before its time: it is new."""
    if not episode.is_open:
        return _over(episode)
    if episode.state is not EpisodeState.SHELVED:
        return Refused(RefusedFor.NOT_SHELVED, f"it is {episode.state}, not shelved; nothing to take back", episode)
    return _told(Change(_off_the_shelf(episode), (Entry(now_us, EntryKind.UNSHELVED, by),)), now_us, now_us)


def clear(episode: Episode, evidence: str, fold_s: float, untaken: Untaken, by: Actor, now_us: int) -> Change | Refused:
    """Somebody says that it is over, and why."""
    if not is_text(evidence):
        return _wordless(episode, "evidence")
    ended = end(episode, evidence.strip(), fold_s, untaken, at_us=now_us, now_us=now_us, by=by, by_hand=True)
    return ended or _over(episode)


def assign(episode: Episode, owner: str | None, by: Actor, now_us: int) -> Change | Refused:
    """Say whose it is; None: nobody's."""
    if not episode.is_open:
        return _over(episode)
    if owner is not None and not (0 < len(owner) <= limits.OWNER_CHARACTERS_MAX and owner.isprintable()):
        return _wordless(episode, "owner")
    return Change(replace(episode, owner=owner), (Entry(now_us, EntryKind.ASSIGNED, by, owner or ""),))


def comment(episode: Episode, words: str, comments: int, by: Actor, now_us: int) -> Change | Refused:
    """Say something about it, cleared or not. `comments` is how many there are."""
    if not is_text(words):
        return _wordless(episode, "comment")
    if comments >= limits.COMMENTS_MAX:
        return Refused(RefusedFor.FULL, f"it has {comments} comments, which is as many as it can have", episode)
    return Change(episode, (Entry(now_us, EntryKind.COMMENTED, by, words.strip()),))


def is_text(words: str) -> bool:
    """Whether it says something, and no more than is kept. Line breaks may be in it."""
    return 0 < len(words.strip()) <= limits.TEXT_CHARACTERS_MAX and "".join(words.split()).isprintable()


def _surroundings(around: Around, at_us: int) -> tuple[Entry, ...]:
    entries = []
    if around.cause_id is not None:
        entries.append(Entry(at_us, EntryKind.CAUSE_FOUND, SYSTEM, f"alert {around.cause_id} speaks for it"))
    if around.window_id is not None:
        entries.append(Entry(at_us, EntryKind.MAINTENANCE_BEGAN, SYSTEM, f"maintenance window {around.window_id}"))
    return tuple(entries)


def _told(change: Change, at_us: int, due_us: int) -> Change:
    """The same, with a raised notice where nobody was told yet and nothing keeps it quiet."""
    if change.episode.told or change.episode.is_quiet:
        return change
    notice = Notice(NoticeEvent.RAISED, at_us, due_us)
    return replace(change, episode=replace(change.episode, told=True), tell=(*change.tell, notice))


def _off_the_shelf(episode: Episode) -> Episode:
    return replace(
        episode,
        state=EpisodeState.NEW,
        reopens_as=EpisodeState.NEW,
        acknowledged_by=None,
        acknowledged_at_us=None,
        shelved_until_us=None,
        shelved_because=None,
    )


def _over(episode: Episode) -> Refused:
    text = f"it is over: {episode.ended_because}; comment on it, or wait whether it is raised again"
    return Refused(RefusedFor.CLEARED, text, episode)


def _wordless(episode: Episode, what: str) -> Refused:
    text = f"give the {what} in 1 to {limits.TEXT_CHARACTERS_MAX} characters that print"
    return Refused(RefusedFor.BAD_TEXT, text, episode)
