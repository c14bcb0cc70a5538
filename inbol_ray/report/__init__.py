"""Every page and table that a run leaves."""
