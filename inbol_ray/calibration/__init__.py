"""Thresholds for refusing, fitted with a finite-sample guarantee."""
