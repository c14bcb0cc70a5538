"""Scoring: Question, reply -> Outcome."""
