"""Every limit of the alert engine, named once. Units are last in the names."""

TICK_S = 10.0
"""How long the OBSERVATIONS log may be silent before the engine writes the time into it."""
LEAP_MAX_US = 60_000_000
"""The server's clock going on by more than this from one row or tick to the next: it was away, or its clock was set."""
BACK_MAX_US = 60_000_000
"""Rows come to the log in this much disorder; a clock that goes back by more was set."""

RHYTHM_INTERVALS = 8
"""The last intervals that tell how often something speaks."""
RHYTHM_INTERVALS_LEAST = 4
"""With fewer, the profile's interval counts."""
SILENT_INTERVALS = 3
SILENT_LEAST_US = 60_000_000
"""Absence by rhythm is not told sooner: a connection that is made anew takes about so long."""

RATE_PARTS = 64
"""Of the time that a rate looks back over one reading is held in each such part: nine kilobytes a pair at most."""

BASELINE_DAYS = 28
BASELINE_HOURS_LEAST = 3
"""Hours of history that an hour of the day or week needs before it is judged by them."""

SAVE_POSITION_S = 5.0
SNAPSHOT_S = 300.0
RETRY_DELAY_S = 0.5
RETRY_DELAY_MAX_S = 10.0
RENEW_CHECK_S = 1.0
FETCH_MAX = 64
"""Messages a fetch brings: about a million rows at most."""

TRIAL_READINGS_MAX = 20_000_000
TRIAL_BEFORE_US = 6 * 3_600_000_000
"""Of what is about the time before a trial, so much is read: it may have been delivered behind its beginning."""
TRIAL_PIECE_US = 6 * 3_600_000_000
"""The longest piece that is read of the store at once; of many datastreams it is shorter."""
TRIAL_PIECE_READINGS = 2_000_000
TRIAL_INTERVAL_US = 10_000_000
"""So often a datastream is thought to speak; with that a piece has at most TRIAL_PIECE_READINGS."""
