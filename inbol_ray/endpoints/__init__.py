"""Models behind OpenAI-compatible chat-completions APIs."""
