"""Where a run keeps its files: artifacts, local copies, S3."""
