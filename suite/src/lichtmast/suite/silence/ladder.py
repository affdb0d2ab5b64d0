"""Why is this device quiet? The rungs above the network: each judges facts, and the first that is bad is the answer.

Our own faults come first: nobody is sent to a pole for our own outage. Pure; the probes are in `probes`.
"""

from collections.abc import Sequence
from typing import Final

from lichtmast.registry import DeviceStatus
from lichtmast.registry.alerts.conditions import GroupKind
from lichtmast.suite.silence import limits
from lichtmast.suite.silence.facts import Facts, Ours
from lichtmast.suite.silence.finding import Finding, Rung, State, Told, Verdict, ago
from lichtmast.suite.silence.path import coap, echo, name, plan, session
from lichtmast.wire.quality import Quality

_WRONG_CLOCK: Final = Quality.TIME_IN_FUTURE | Quality.CLOCK_SUSPECT
_STAY: Final = Told("Mend this server first; do not send anybody out.", "Herstel eerst deze server; stuur niemand.")
_CLAIM: Final = Told(
    "Have an engineer claim it at its pole.", "Laat een monteur het apparaat bij de mast aanmelden (claimen)."
)


def climb(facts: Facts) -> Sequence[Finding]:
    """Every rung, from the top."""
    judges = (ours, register, certificate, refused, quarantine, clock, speech, neighbours, session, name, plan)
    return [judge(facts) for judge in (*judges, echo, coap)]


def verdict(findings: Sequence[Finding], facts: Facts) -> Verdict:
    """The first bad rung; of a device that speaks the rungs below that are of no account."""
    for one in findings:
        if one.state is State.BAD and one.step is not None:
            return Verdict(one.rung, one.text, one.step)
        if one.rung is Rung.SPEECH and one.state is State.OK:
            return Verdict(None, one.text, Told("There is nothing to do.", "Er hoeft niets te gebeuren."))
    if facts.speech is None:
        return Verdict(
            None,
            Told("It has never been heard, and nothing on our side is in its way.",
                 "Het is nooit gehoord, en aan onze kant staat niets in de weg."),
            Told("Look at its power, its network and its settings, at the pole.",
                 "Bekijk bij de mast de voeding, het netwerk en de instellingen."),
        )  # fmt: skip
    return Verdict(
        None,
        Told("It is quiet, and no rung of the ladder explains it.", "Het is stil, en geen trede verklaart dat."),
        Told(
            "Look at the device at its pole; take its journal along.", "Bekijk het apparaat bij de mast, en zijn log."
        ),
    )


def ours(facts: Facts) -> Finding:
    """Whether this server is well."""
    wrong = _wrong_with(facts.ours)
    if wrong is None:
        fine = Told("Broker, log, pipeline and doors of this server are well.", "Deze server is in orde.")
        return Finding(Rung.OURS, State.OK, fine)
    return Finding(Rung.OURS, State.BAD, wrong, _STAY)


def _wrong_with(one: Ours) -> Told | None:
    if not one.broker_answers:
        return Told("The broker of this server does not answer.", "De broker van deze server antwoordt niet.")
    if one.lag is None:
        return Told("The log of this server does not answer.", "Het logboek van deze server antwoordt niet.")
    if one.lag > limits.LAG_MESSAGES_MAX:
        return Told(
            f"This server is behind: {one.lag} messages have come in and are not stored yet.",
            f"Deze server loopt achter: {one.lag} berichten zijn binnen en nog niet opgeslagen.",
        )
    if not one.mqtt_listens:
        return Told("The MQTT door of this server is shut.", "De MQTT-deur van deze server is dicht.")
    if not one.coap_listens:
        return Told("The CoAP door of this server is shut.", "De CoAP-deur van deze server is dicht.")
    return None


_STANDINGS: Final = {
    None: (
        Told("It is not in the register.", "Het staat niet in het register."),
        Told("Look at the spelling, or register it.", "Controleer de schrijfwijze, of registreer het."),
    ),
    DeviceStatus.REGISTERED: (Told("Nobody has claimed it yet.", "Niemand heeft het nog aangemeld."), _CLAIM),
    DeviceStatus.CLAIMED: (
        Told("It is claimed, but never fetched a certificate.", "Het is aangemeld, en haalde nooit een certificaat."),
        Told(
            "See that it has power and reaches the enrolment port; then claim it again.",
            "Controleer voeding en de weg naar de aanmeldpoort; meld het daarna opnieuw aan.",
        ),
    ),
    DeviceStatus.SUSPENDED: (
        Told("It is suspended: every door is shut to it.", "Het is geschorst: elke deur is ervoor dicht."),
        Told("Resume it, once the reason in the log of changes is gone.", "Hef de schorsing op als de reden weg is."),
    ),
    DeviceStatus.RETIRED: (
        Told("It is retired, which is final.", "Het is buiten dienst, en dat is definitief."),
        Told("Look for the device that replaced it.", "Zoek het apparaat dat het heeft vervangen."),
    ),
}  # fmt: skip


def register(facts: Facts) -> Finding:
    """Whether the register lets it speak."""
    if facts.status is DeviceStatus.ACTIVE:
        return Finding(Rung.REGISTER, State.OK, Told("It is in the register, and active.", "Het is in dienst."))
    text, step = _STANDINGS[facts.status]
    return Finding(Rung.REGISTER, State.BAD, text, step)


def certificate(facts: Facts) -> Finding:
    """Whether it has what opens a door."""
    held = facts.certificate
    if not facts.is_secure:
        return Finding(Rung.CERTIFICATE, State.OK, Told("No certificate is needed here.", "Hier is er geen nodig."))
    if held is None:
        return Finding(
            Rung.CERTIFICATE, State.BAD, Told("It has no certificate.", "Het heeft geen certificaat."), _CLAIM
        )
    if held.is_revoked:
        text = Told("Its certificate is revoked.", "Zijn certificaat is ingetrokken.")
        return Finding(Rung.CERTIFICATE, State.BAD, text, _CLAIM)
    since = ago(held.not_after_us, facts.now_us)
    if held.not_after_us <= facts.now_us:
        text = Told(f"Its certificate ended {since.en}.", f"Zijn certificaat liep af: {since.nl}.")
        return Finding(Rung.CERTIFICATE, State.BAD, text, _CLAIM)
    left_us = held.not_after_us - facts.now_us
    if left_us < limits.CERTIFICATE_LATE_SHARE * (held.not_after_us - held.not_before_us):
        hours = left_us // 3_600_000_000
        return Finding(
            Rung.CERTIFICATE,
            State.UNKNOWN,
            Told(f"Its certificate ends in {hours} h and it has not renewed it.",
                 f"Zijn certificaat loopt over {hours} uur af en is niet vernieuwd."),
        )  # fmt: skip
    return Finding(Rung.CERTIFICATE, State.OK, Told("Its certificate is valid.", "Zijn certificaat is geldig."))


def refused(facts: Facts) -> Finding:
    """Whether a door turned it away since it last spoke."""
    since_us = max(facts.last_us, facts.now_us - limits.REFUSED_LATELY_US)
    lately = [one for one in facts.refusals if one.last_us > since_us]
    if not lately:
        return Finding(Rung.REFUSED, State.OK, Told("No door turned it away lately.", "Geen deur wees het onlangs af."))
    last = max(lately, key=lambda one: one.last_us)
    when = ago(last.last_us, facts.now_us)
    return Finding(
        Rung.REFUSED,
        State.BAD,
        Told(
            f"The {last.door} door turns it away: {last.reason}, {last.count} times, last {when.en}.",
            f"De {last.door}-deur wijst het af: {last.reason}, {last.count} keer, het laatst {when.nl}.",
        ),
        Told(
            f"Mend what {last.reason} means; the reference of the {last.door} door says what that is.",
            f"Verhelp wat {last.reason} betekent; dat staat in de naslag van de {last.door}-deur.",
        ),
    )


def quarantine(facts: Facts) -> Finding:
    """Whether it speaks, and what it says is refused."""
    lately = [one for one in facts.quarantined if one.last_us > facts.last_us]
    if not lately:
        text = Told(
            "Nothing in quarantine came after its last reading.", "Na zijn laatste meting kwam niets in quarantaine."
        )
        return Finding(Rung.QUARANTINE, State.OK, text)
    last = max(lately, key=lambda one: one.last_us)
    when = ago(last.last_us, facts.now_us)
    return Finding(
        Rung.QUARANTINE,
        State.BAD,
        Told(
            f"It speaks, but its packs go to quarantine: {last.reason}, {last.packs} of them, last {when.en}.",
            f"Het zendt, maar alles gaat in quarantaine: {last.reason}, {last.packs} pakketten, het laatst {when.nl}.",
        ),
        Told(
            "Mend the cause, then replay: lichtmast quarantine list.",
            "Verhelp de oorzaak en speel ze opnieuw af: lichtmast quarantine list.",
        ),
    )


def clock(facts: Facts) -> Finding:
    """Whether its readings came with the wrong time: then they are stored where nobody looks."""
    if facts.speech is None:
        return Finding(
            Rung.CLOCK, State.UNKNOWN, Told("There is no reading to tell its clock by.", "Er is geen meting.")
        )
    if not facts.speech.quality & _WRONG_CLOCK:
        return Finding(Rung.CLOCK, State.OK, Told("Its clock was right.", "Zijn klok liep goed."))
    off = f"{abs(facts.speech.behind_s):.0f} s"
    en, nl = ("behind", "achter") if facts.speech.behind_s >= 0 else ("ahead", "voor")
    return Finding(
        Rung.CLOCK,
        State.BAD,
        Told(f"Its clock is wrong: its last readings came {off} {en}.", f"Zijn klok loopt fout: {off} {nl}."),
        Told(
            "Have it get the time again: restart it, and see that it reaches its time server.",
            "Laat het de tijd opnieuw halen: herstart het, en controleer de weg naar zijn tijdserver.",
        ),
    )


def speech(facts: Facts) -> Finding:
    """Whether it is quiet at all."""
    if facts.speech is None:
        return Finding(Rung.SPEECH, State.UNKNOWN, Told("It never spoke.", "Het heeft nooit gezonden."))
    when = ago(facts.speech.last_us, facts.now_us)
    if facts.is_quiet:
        text = Told(f"It is quiet: its last reading came {when.en}.", f"Het is stil: de laatste meting kwam {when.nl}.")
        return Finding(Rung.SPEECH, State.UNKNOWN, text)
    text = Told(
        f"It is not quiet: its last reading came {when.en}.", f"Het is niet stil: de laatste meting kwam {when.nl}."
    )
    return Finding(Rung.SPEECH, State.OK, text)


def neighbours(facts: Facts) -> Finding:
    """Whether all around it is quiet too: then it is not the device. The feeder explains more than a square does."""
    known = [one for one in facts.groups if one.members >= limits.GROUP_LEAST]
    if not known:
        return Finding(Rung.NEIGHBOURS, State.UNKNOWN, Told("Too few others to compare it with.", "Te weinig buren."))
    for one in sorted(known, key=lambda one: one.kind is not GroupKind.FEEDER):
        if one.quiet < limits.GROUP_QUIET_SHARE * one.members:
            continue
        en, nl = (
            (f"feeder {one.name}", f"kast {one.name}")
            if one.kind is GroupKind.FEEDER
            else ("its neighbourhood", "zijn buurt")
        )
        return Finding(
            Rung.NEIGHBOURS,
            State.BAD,
            Told(f"It is not the device: {one.quiet} of {one.members} others of {en} are quiet too.",
                 f"Het ligt niet aan het apparaat: {one.quiet} van {one.members} andere van {nl} zijn ook stil."),
            Told("Ask for the power at the cabinet, and the network there.",
                 "Vraag naar de stroom in de kast en naar het netwerk daar."),
        )  # fmt: skip
    return Finding(Rung.NEIGHBOURS, State.OK, Told("Others around it speak.", "Andere in de buurt zenden wel."))
