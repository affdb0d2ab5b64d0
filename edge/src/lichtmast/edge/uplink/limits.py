"""Every limit and every waiting time of the uplink, named once. Units are last in the names."""

from typing import Final

MQTT_WINDOW_PACKS: Final = 64
"""Packs that are with the broker and not yet confirmed by the store. With one acknowledgement a second this
drains 48 packs a second beside live ones, and no outage makes the broker hold more than this of one device."""
MQTT_AT_ONCE: Final = 8
"""Publishes that wait for their PUBACK at one time: a link of 300 ms still drains 25 packs a second."""
COAP_WINDOW_PACKS: Final = 1
"""NSTART (RFC 7252 section 4.7)."""
LIVE_SHARE: Final = 4
"""One of so many places of a window is kept for live packs, so that a backlog never makes them wait."""
LIVE_IN_A_ROW: Final = 4
"""After so many live packs one older pack goes first: a link that is only just wide enough still drains."""

ACK_PATIENCE_S: Final = 5.0
"""How long a pack that the broker has waits for the store's acknowledgement before it may be sent again."""
ACK_PATIENCE_MAX_S: Final = 60.0
"""The longest pause between probes while the store says nothing."""
RESEND_BURST_PACKS: Final = 8
"""How many unconfirmed packs a sign of life lets us repeat, so that recovery is paced by acknowledgements."""
PASSED_OVER_REPEATS: Final = 3
"""A pack that was repeated so often, each time with an acknowledgement afterwards that does not name it, steps aside:
an acknowledgement names sixteen ranges at most, and what lies outside of them would hold its place for ever."""
PASSED_OVER_S: Final = 60.0
PASSED_OVER_MAX_S: Final = 3_600.0
"""First and longest pause between two tries of packs that stepped aside, one at each."""
REASONS_MAX: Final = 16
REASON_LENGTH_MAX: Final = 200
"""What a server says why it refuses is kept, but not without bound."""

REFUSAL_S: Final = 60.0
"""The same reason of a refusal is told so often at most."""
UNHEARD_S: Final = 120.0
"""A broker that has taken packs for so long, and nobody ever acknowledged one: that is told."""

RETRY_S: Final = 2.0
RETRY_MAX_S: Final = 60.0
"""First and longest pause after a refused connection, an unanswered request, or an answer that says: later."""
RETRY_AFTER_MAX_S: Final = 3_600.0
"""The longest Max-Age (RFC 7252 section 5.9.3.4) that is obeyed."""
START_SPREAD_S: Final = 2.0
"""When the power of a whole street comes back, its agents do not dial in the same instant."""
PROVEN_S: Final = 60.0
"""A connection that confirmed a pack, or lived so long, was good: after its end a pause follows between LOST_S and the
`spread_s` of the settings. A broker that ends loses all its devices in one instant, and cannot let them in in one."""
LOST_S: Final = 1.0

TRIAL_SHARE: Final = 4
"""A link on trial gets this part of the patience with one that has worked."""
RETURN_DOUBLINGS_MAX: Final = 4
"""Failed trials of a better link double the pause before the next, at most so often."""

HAIR_S: Final = 0.001
"""Two clocks that count the same seconds may still differ in the last digit."""

RESOLVE_S: Final = 10.0
ADDRESSES_MAX: Final = 8

MQTT_TIMEOUT_S: Final = 20.0
"""For a CONNACK, SUBACK or PUBACK; enough for eight packs at 32 kbit/s with losses."""
MQTT_CONNECT_S: Final = 10.0
MQTT_LEAVING_S: Final = 0.25
"""How long a cancelled connect may take to come back from its thread before it is left behind."""
MQTT_GOODBYE_S: Final = 2.0
MQTT_KEEPALIVE_S: Final = 45
MQTT_HEARD_MAX: Final = 64
"""Messages that came and were not looked at; further ones are not kept. Acknowledgements are cumulative."""

TCP_SEGMENT_BYTES: Final = 1_220
"""1,280, which every IPv6 link carries (RFC 8200 section 5), less the headers of IPv6 and TCP."""

COAP_MAX_RETRANSMIT: Final = 2
"""RFC 7252 section 4.8 allows fewer than 4: the outbox retries for ever, with its own, jittered pause."""
COAP_ANSWER_S: Final = 30.0
"""Request and separate response together; above the 21 s after which the retransmissions have failed."""
COAP_LARGE_ANSWER_S: Final = 120.0
"""The same where a pack travels in blocks, each with its own retransmissions."""
COAP_DATAGRAM_BYTES: Final = 1_024

DTLS_DATAGRAM_BYTES: Final = 1_232
"""1,280, which every IPv6 link carries, less the headers of IPv6 and UDP."""
DTLS_PLAINTEXT_BYTES: Final = 16 * 1024
DTLS_FLIGHT_BYTES: Final = 64 * 1024
DTLS_OPEN_S: Final = 20.0
"""For the handshake with its retransmissions after 1, 3, 7 and 15 s (RFC 6347 section 4.2.4.1)."""

LEAVING_S: Final = 5.0
"""How long a link that is left may take to close before it is told once more; longer than its goodbye."""

EVENTS_MAX: Final = 256
"""Events that wait for a link which takes them; the oldest makes room and is counted, answers to commands last."""
REPORT_BYTES_MAX: Final = 16 * 1024
ACK_COMPLAINT_S: Final = 60.0
"""The shortest time between two complaints about acknowledgements: a hostile flood gets no flood in return."""
