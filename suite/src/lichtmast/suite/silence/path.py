"""The lower rungs: its connection, its name, its address, and whether it answers there. Pure."""

from typing import Final

from lichtmast.registry.contacts import Bearer
from lichtmast.suite.silence.facts import Facts, Reach
from lichtmast.suite.silence.finding import Finding, Rung, State, Told, ago

_ALIVE: Final = frozenset({Reach.ANSWERED, Reach.REFUSED})
_FIREWALL: Final = Told(
    "Have the rules of the firewall between it and this server mended.",
    "Laat de regels van de firewall tussen het apparaat en deze server herstellen.",
)


def session(facts: Facts) -> Finding:
    """Whether it is connected, and has nothing to say."""
    if facts.is_connected and facts.is_quiet:
        return Finding(
            Rung.SESSION,
            State.BAD,
            Told("It is connected over MQTT at this moment, and sends no readings.",
                 "Het is nu verbonden via MQTT, en zendt geen metingen."),
            Told("Look at its sensors and its state: lichtmast device show; then reboot it.",
                 "Bekijk zijn sensoren en toestand: lichtmast device show; herstart het daarna."),
        )  # fmt: skip
    if facts.is_connected:
        return Finding(Rung.SESSION, State.OK, Told("It is connected over MQTT.", "Het is verbonden via MQTT."))
    if facts.contact is None:
        text = Told("From where it was heard last is not known.", "Vanwaar het het laatst is gehoord, is niet bekend.")
        return Finding(Rung.SESSION, State.UNKNOWN, text)
    by, when = facts.contact.bearer.upper(), ago(facts.contact.heard_us, facts.now_us)
    text = Told(
        f"It is not connected; last heard over {by} {when.en}.", f"Niet verbonden; het laatst via {by}, {when.nl}."
    )
    return Finding(Rung.SESSION, State.UNKNOWN, text)


def name(facts: Facts) -> Finding:
    """Whether its name leads to an address."""
    known = facts.name
    if known is None:
        return Finding(
            Rung.NAME, State.UNKNOWN, Told("Devices have no DNS names here.", "Apparaten hebben hier geen DNS-naam.")
        )
    if known.resolves is None:
        text = Told("The name server did not answer.", "De naamserver antwoordde niet.")
        return Finding(Rung.NAME, State.UNKNOWN, text)
    if known.resolves:
        return Finding(Rung.NAME, State.OK, Told(f"{known.text} has an address.", f"{known.text} heeft een adres."))
    return Finding(
        Rung.NAME,
        State.BAD,
        Told(f"Its name {known.text} has no AAAA record.", f"Zijn naam {known.text} heeft geen AAAA-record."),
        Told("Put its address in the DNS, or mend its registration there.", "Zet zijn adres in de DNS."),
    )


def plan(facts: Facts) -> Finding:
    """Whether it was last heard from where devices belong."""
    if facts.contact is None or not facts.plan:
        text = Told("No address, or no plan, to compare.", "Geen adres, of geen plan, om te vergelijken.")
        return Finding(Rung.PLAN, State.UNKNOWN, text)
    if any(facts.contact.address in network for network in facts.plan):
        return Finding(
            Rung.PLAN, State.OK, Told("Its last address is in the plan.", "Zijn laatste adres past in het plan.")
        )
    return Finding(
        Rung.PLAN,
        State.BAD,
        Told("Its last address is outside the prefixes of the address plan.",
             "Zijn laatste adres valt buiten de prefixen van het adresplan."),
        Told("Look at which network it is connected to; mend that, or the plan.",
             "Kijk op welk netwerk het zit; herstel dat, of het plan."),
    )  # fmt: skip


def echo(facts: Facts) -> Finding:
    """Whether it answers at its last address; a host that speaks CoAP lives, whatever filters echo."""
    if facts.echo in _ALIVE:
        return Finding(Rung.ECHO, State.OK, Told("It answers ICMPv6 echo.", "Het antwoordt op ICMPv6-echo."))
    if facts.coap in _ALIVE:
        return Finding(
            Rung.ECHO, State.OK, Told("It answers, though not to echo.", "Het antwoordt, al is het niet op echo.")
        )
    if facts.echo is Reach.NOT_TRIED:
        text = Told("It has no address that could be asked.", "Er is geen adres om te proberen.")
        return Finding(Rung.ECHO, State.UNKNOWN, text)
    if Reach.PROHIBITED in {facts.echo, facts.coap}:
        text = Told("A firewall refuses what is sent to it.", "Een firewall weigert wat ernaartoe gaat.")
        return Finding(Rung.ECHO, State.UNKNOWN, text)
    return Finding(
        Rung.ECHO,
        State.BAD,
        Told("It does not answer at its last address: it has no power, no link, or another address.",
             "Het antwoordt niet op zijn laatste adres: geen stroom, geen verbinding, of een ander adres."),
        Told("Go to its pole with a spare: look at power first, then at the link.",
             "Ga met een reserve naar de mast: eerst de voeding, dan de verbinding."),
    )  # fmt: skip


def coap(facts: Facts) -> Finding:
    """Whether CoAP passes to it. A node that was heard over MQTT alone needs no such way."""
    if facts.coap is Reach.ANSWERED:
        return Finding(Rung.COAP, State.OK, Told("It answers on its CoAP port.", "Het antwoordt op zijn CoAP-poort."))
    if facts.coap is Reach.REFUSED:
        text = Told("Nothing listens on its CoAP port, which a node that only sends needs not.", "Er luistert niets op zijn CoAP-poort; dat hoeft ook niet.")  # fmt: skip  # noqa: E501 - two languages
        return Finding(Rung.COAP, State.UNKNOWN, text)
    if facts.coap is Reach.NOT_TRIED or facts.contact is None or facts.contact.bearer is not Bearer.COAP:
        text = Told("It speaks no CoAP, or has no address to ask.", "Het spreekt geen CoAP, of heeft geen adres.")
        return Finding(Rung.COAP, State.UNKNOWN, text)
    if facts.coap is Reach.PROHIBITED or facts.echo in _ALIVE:
        text = Told("It is there, but CoAP does not pass to it.", "Het is er, maar CoAP komt er niet door.")
        return Finding(Rung.COAP, State.BAD, text, _FIREWALL)
    return Finding(Rung.COAP, State.UNKNOWN, Told("Its CoAP port is silent.", "Zijn CoAP-poort zwijgt."))
