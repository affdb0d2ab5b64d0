"""A thousand histories of a pole and its server, on virtual time: whatever goes wrong, every promise is kept.

The agent's outbox, timekeeper, courier, fail-over and delivery, and the server's transform, sequences, judge,
acknowledgements and store are the real ones. The seeds are fixed: a failure is a failure on every machine.
"""

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from simulated_history import FAULTS, live, live_through

HISTORIES = 1_000
CHUNK = 20

BITES = (
    *(
        "agent_killed",
        "machine_rebooted",
        "card_lost",
        "clock_jump",
        "disk_error_after_commit",
        "disk_error_before_commit",
        "late_time",
    ),
    *("edge.before_put", "edge.after_put", "edge.before_send", "edge.after_send"),
    *("edge.before_settle", "edge.after_settle", "unstamped", "wrong_unit", "declared_drop", "turned_away"),
    *("partition_full", "partition_up", "partition_down", "partition_mqtt", "connection_reset", "connect_refused"),
    *("connect_timed_out", "publish_unconfirmed", "publish_twice", "puback_broken", "request_unanswered"),
    *("datagram_lost", "datagram_corrupt", "datagram_late", "datagram_twice", "coap_later", "failed_over"),
    *("ack_lost", "ack_garbled", "ack_stale", "ack_of_another_epoch", "ack_of_what_was_never_sent", "ack_refused"),
    *("broker_killed", "log_rewound", "log_replaced", "log_read_again", "ingest_killed", "server_silent"),
    *("ingest.before_commit", "ingest.after_commit", "ingest.before_ack", "ingest.after_ack"),
    *("coap.before_log", "coap.after_log", "repeated", "duplicate_received", "quarantined"),
)
"""Every way in which things can go wrong; histories in which one of them never did prove less than they say."""


@pytest.mark.slow
@pytest.mark.timeout(900)  # half a minute on two free cores; a machine that is busy must not make it red
def test_a_thousand_histories_keep_every_promise() -> None:
    chunks = [range(start, start + CHUNK) for start in range(0, HISTORIES, CHUNK)]
    bites: Counter[str] = Counter()
    failed: dict[int, list[str]] = {}
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
        for told, found in pool.map(live_through, chunks):
            bites += told
            failed |= found
    report = "\n".join(f"scripts/history {seed}: {faults[0]}" for seed, faults in sorted(failed.items()))
    assert not failed, f"{len(failed)} of {HISTORIES} histories failed:\n{report}"
    assert [one for one in BITES if not bites[one]] == [], "these faults never bit"


def test_a_history_is_the_same_each_time_it_is_told() -> None:
    once, again = live(3, verbose=True), live(3, verbose=True)
    assert once.diary == again.diary
    assert once.evidence == again.evidence
    assert live(4, verbose=True).diary != once.diary


def test_every_kind_of_fault_is_drawn() -> None:
    drawn = {
        line.rsplit("  ", 1)[1]
        for seed in range(60)
        for line in live(seed, verbose=True).diary
        if "  befalls  " in line
    }
    assert drawn == set(FAULTS)
