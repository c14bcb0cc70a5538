"""A model as a judge of replies, beside the rules."""
