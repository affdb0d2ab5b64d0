"""Alerts in the register: rules, the life of an episode, what the evaluation remembers, maintenance windows.

`AlertBook` (`Registry.alerts`) is the way in. Evaluating rules is the ingest's, telling people the notifications'.
"""

from lichtmast.registry.alerts.book import AlertBook
from lichtmast.registry.alerts.conditions import (
    Absence,
    Baseline,
    Condition,
    Fleet,
    GroupKind,
    QualityFlags,
    Rate,
    Threshold,
)
from lichtmast.registry.alerts.episode import (
    OPEN_STATES,
    Entry,
    EntryKind,
    Episode,
    EpisodeState,
    NoticeEvent,
    Refused,
    RefusedFor,
)
from lichtmast.registry.alerts.errors import AlertRuleError
from lichtmast.registry.alerts.groups import Membership, group_subject
from lichtmast.registry.alerts.inbox import EpisodeFile, InboxQuery, InboxRow
from lichtmast.registry.alerts.rule_rows import RuleVersion
from lichtmast.registry.alerts.rules import AlertRule, Severity, document_of, parse_rule
from lichtmast.registry.alerts.scope import Box, Facts, Scope
from lichtmast.registry.alerts.sentences import sentence
from lichtmast.registry.alerts.steps import (
    EngineMemory,
    EnginePosition,
    Standing,
    StandingState,
    Step,
    Transition,
    TransitionKind,
)
from lichtmast.registry.alerts.windows import MaintenanceWindow, WindowDraft, WindowState

__all__ = [
    "OPEN_STATES",
    "Absence",
    "AlertBook",
    "AlertRule",
    "AlertRuleError",
    "Baseline",
    "Box",
    "Condition",
    "EngineMemory",
    "EnginePosition",
    "Entry",
    "EntryKind",
    "Episode",
    "EpisodeFile",
    "EpisodeState",
    "Facts",
    "Fleet",
    "GroupKind",
    "InboxQuery",
    "InboxRow",
    "MaintenanceWindow",
    "Membership",
    "NoticeEvent",
    "QualityFlags",
    "Rate",
    "Refused",
    "RefusedFor",
    "RuleVersion",
    "Scope",
    "Severity",
    "Standing",
    "StandingState",
    "Step",
    "Threshold",
    "Transition",
    "TransitionKind",
    "WindowDraft",
    "WindowState",
    "document_of",
    "group_subject",
    "parse_rule",
    "sentence",
]
