"""The rules of the first day are rules, and each covers what it speaks of."""

from alert_town import entries

from lichtmast.ingest.alerting.default_rules import default_rules
from lichtmast.ingest.alerting.groups import grouping
from lichtmast.ingest.alerting.layout import Layout
from lichtmast.ingest.alerting.plan import make_plan
from lichtmast.registry.alerts.conditions import Fleet
from lichtmast.registry.alerts.rules import parse_rule
from lichtmast.wire import load_profiles


def test_the_rules_of_the_first_day_cover_a_town_of_lamps() -> None:
    rules = [parse_rule(one, rule_id=at, version=1) for at, one in enumerate(default_rules("gm0402"), 1)]
    layout = Layout(entries(["gm0402/lamp-1"], "lamp-controller"), load_profiles())
    plan = make_plan(rules, layout, grouping({}))
    covered = {rules[row].name for pairs in plan.families for row in pairs.rule.tolist()}
    fleets = [one.condition for one in rules if isinstance(one.condition, Fleet)]
    assert {one.name for one in rules if not isinstance(one.condition, Fleet)} == covered
    assert {one.rule for one in fleets} <= covered
