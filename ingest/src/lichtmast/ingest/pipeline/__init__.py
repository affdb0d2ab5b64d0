"""The pipeline: from messages of the log to one store transaction after another.

One reading's way through here:

    log ─▶ arrivals  what came, one element a pack, in log order        (arrivals.py)
        ─▶ decode    bytes to columns; the fast way, else the strict    (decode.py, judge.py)
        ─▶ identify  is the sender the device that the pack names?      (roster.py)
        ─▶ dedupe    new, known or doubtful by (device, epoch, seq)     (sequence.py)
        ─▶ resolve   names to datastreams, units and ranges checked     (roster.py)
        ─▶ batch     observations, ledger, quarantine, log position     (transform.py, tables.py)
        ─▶ OBSERVATIONS log, then the store's commit, then the acks     (run.py, acks.py)

Everything but `run.py` is values in, values out. What memory holds (the roster, who sent what) is a copy of what the
register and the store hold; after any failure it is thrown away and read again, and the log is read on from behind the
position that the store has. That is all the recovery there is.
"""
