"""Training data from confidence: conversations for SFT and IDK-IT, weighted preferences for CA-DPO."""
