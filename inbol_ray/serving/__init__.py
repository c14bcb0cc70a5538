"""An OpenAI-compatible endpoint on Ray Serve that says when it refuses, with a dial for the risk."""
