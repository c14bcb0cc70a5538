"""Generation with vLLM inside Ray Data."""
