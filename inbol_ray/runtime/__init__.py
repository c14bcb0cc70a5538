"""Running stages: what they ask for, how they are run, and how that is watched."""
