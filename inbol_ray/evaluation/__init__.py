"""Evaluation: predictions in, scores and a report out."""
