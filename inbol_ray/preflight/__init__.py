"""What would end a run late is looked for before its first stage starts: in checkpoints, adapters, and on the disk."""
