"""Every limit of alerts, named once. Units are last in the names."""

RULES_MAX = 200_000
"""Rules of one register; the evaluation is measured at 100,000."""
RULES_TENANT_MAX = 100_000
"""Rules of one municipality: none uses up what is there for all."""
RULE_NAME_CHARACTERS_MAX = 100
SCOPE_ITEMS_MAX = 1_000
"""Datastreams, devices or assets that one rule or window names."""
DELAY_S_MAX = 30 * 24 * 3600
"""The longest delay, rate or absence that a rule may speak of."""
FOLD_S = 15 * 60
"""Raised again within this time of its clearing, an alert is the same episode."""
FOLD_S_MAX = 7 * 24 * 3600
QUALITY_COUNT_MAX = 1_000
SIGMA_MIN, SIGMA_MAX = 1.0, 100.0
FLEET_MEMBERS_MAX = 100_000

TEXT_CHARACTERS_MAX = 2_000
"""A comment, a reason, a piece of evidence."""
OWNER_CHARACTERS_MAX = 200
WORK_ORDER_CHARACTERS_MAX = 60
SHELF_S_MAX = 92 * 24 * 3600
"""The longest that one may look away; after it the alert is in the inbox again."""
WINDOW_S_MAX = 92 * 24 * 3600
"""The longest maintenance window."""
WINDOWS_LIVE_MAX = 1_000
"""Windows of one register that have not ended: each raised alert is compared with all of them."""
WINDOWS_LIVE_TENANT_MAX = 200
"""Of those, the windows of one municipality."""
COMMENTS_MAX = 500
"""Comments on one episode."""
FLAPS_NOTED_MAX = 200
"""Raisings of one episode that its history spells out; the count goes on."""
EPISODES_KEPT_US = 5 * 365 * 24 * 3600 * 1_000_000
"""How long an alert is kept after it ended."""
EPISODES_PAGE_MAX = 1_000
"""Largest page of the inbox."""

GROUPING_HOLD_S = 60
"""How long the notice of an alert waits that a fleet rule watches: its cause may come and speak for all of them."""

CELL_M = 500
"""A neighbourhood is a square of about this size."""

RULES_SPELLED_MAX = 100
"""Rules of one change that the log of changes names one by one; of more it keeps the count and a digest."""
RULE_SPELLED_BYTES_MAX = 4_000
"""A longer document is in the log as its digest; the version itself stays in any case."""
