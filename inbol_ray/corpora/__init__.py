"""Readers of the corpora in their official formats: files -> Question | Rejected."""
