"""Observations on disk: one transaction for observations, pack ledger, quarantine and log offset."""
