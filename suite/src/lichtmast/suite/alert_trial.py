"""A rule of alerts tried on what the store holds, told as JSON: for the command, the operator's endpoint and /v1."""

from datetime import UTC, datetime
from typing import Any

from lichtmast.ingest.alerting.trial import try_rule
from lichtmast.registry import Registry
from lichtmast.registry.alerts import AlertRule
from lichtmast.store import DuckStore
from lichtmast.suite.limits import TRIAL_EPISODES_MAX

_DAY_US = 86_400_000_000


def trial_told(store: DuckStore, registry: Registry, rule: AlertRule, days: float, now_us: int) -> dict[str, Any]:
    """What the rule would have done in the last days; of its episodes the first TRIAL_EPISODES_MAX. Blocks."""
    book = registry.alerts
    trial = try_rule(
        store,
        registry.directory(),
        rule,
        now_us - int(days * _DAY_US),
        now_us,
        others=book.rules(rule.tenant),
        groups=book.groups(),
    )
    return {
        "fired": len(trial.episodes),
        "sentence": trial.sentence,
        "readings": trial.readings,
        "until": _moment(trial.until_us),
        "complete": trial.complete,
        "episodes": [
            {
                "subject": one.subject,
                "from": _moment(one.from_us),
                "until": None if one.until_us is None else _moment(one.until_us),
                "because": one.because,
            }
            for one in trial.episodes[:TRIAL_EPISODES_MAX]
        ],
    }


def _moment(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
