"""The paper, pure: no Ray, no vLLM, no files."""
