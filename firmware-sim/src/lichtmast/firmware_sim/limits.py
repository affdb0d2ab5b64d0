"""Every limit and every waiting time of the simulator, named once. Units are last in the names."""

from typing import Final

OUTBOX_PACKS_MAX: Final = 3_600
"""An hour at one pack a second. A full outbox skips the sample, and counts it, before the pack gets a number."""

RESEND_BURST_PACKS: Final = 8
"""How many unacknowledged packs a sign of life lets a device repeat, so that recovery is paced by acknowledgements."""
ACK_PATIENCE_S: Final = 5.0
"""How long a pack that is in the log waits for the store's acknowledgement before it may be sent again."""
ACK_PATIENCE_MAX_S: Final = 20.0
"""The longest pause between probes while the store says nothing."""

RETRY_S: Final = 0.5
RETRY_MAX_S: Final = 15.0
"""First and longest pause after a refused connection, an unanswered request, or an answer that says: later."""

MQTT_CONNECT_TIMEOUT_S: Final = 10.0
"""How long opening a connection may take, up to the answer to SUBSCRIBE."""
MQTT_TIMEOUT_S: Final = 20.0
"""How long the broker may be silent after PUBLISH or PINGREQ before the connection counts as dead."""
MQTT_KEEPALIVE_S: Final = 30
TCP_SEGMENT_BYTES: Final = 1_220
"""1,280, which every IPv6 link carries (RFC 8200 section 5), less the headers of IPv6 and TCP."""
MQTT_PACKET_BYTES_MAX: Final = 65_536
"""An acknowledgement has 16 KiB at most; what is longer is not for us."""
DIALLERS: Final = 32
"""Connections being opened at once: a thousand devices that come back together must not time each other out."""
WHEEL_TICK_S: Final = 0.05
"""The grain of every timer of a light device."""
LEAVING_S: Final = 1.0
"""How long goodbyes may take before lines are cut."""

AGENT_LEAVING_S: Final = 10.0
"""How long a real agent may take to end before it is killed; its outbox survives that."""

COAP_ACK_TIMEOUT_S: Final = 2.0
"""ACK_TIMEOUT of RFC 7252 section 4.8; the chance factor is 1 to 1.5."""
COAP_MAX_RETRANSMIT: Final = 2
"""RFC 7252 section 4.8 allows fewer than 4: the outbox retries for ever, with its own, jittered pause."""
COAP_ANSWER_TIMEOUT_S: Final = 30.0
"""Request and separate response together; above the 21 s after which the retransmissions have failed."""
COAP_REOPEN_AFTER: Final = 2
"""Unanswered requests in a row after which a device takes another socket."""
RETRY_AFTER_MAX_S: Final = 60.0
"""The longest Max-Age of a 4.29 or 5.03 (RFC 7252 section 5.9.3.4) that a device obeys."""

INTERVAL_S_MIN: Final = 0.01
LATE_S_MAX: Final = 10.0
"""A process held up for longer skips rounds, and counts them, instead of measuring an hour at once."""
DEVICES_MAX: Final = 20_000
SPEED_MAX: Final = 100_000.0
"""How much faster than real time a town that delivers may live."""
FLOOD_PACKS_MAX: Final = 1_000
"""Packs that a flooding device makes in one turn at most, whatever its rate."""
GEOJSON_BYTES_MAX: Final = 256 * 1024 * 1024
HOSTILE_STRIDE_SAMPLES: Final = 100
"""A run without an end slips one malformed pack between so many sound ones."""

DESCRIPTORS_SPARE: Final = 128
"""A device is one open file; so many more are the process's own."""
