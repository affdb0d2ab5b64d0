"""The rules of validation as versions that are only ever added to: who put which, when and why.

`Registry.validation` is the way in. What a document may say is `lichtmast.wire.validation`'s.
"""

from lichtmast.registry.validation.book import RulesVersion, ValidationBook, current_rules

__all__ = ["RulesVersion", "ValidationBook", "current_rules"]
