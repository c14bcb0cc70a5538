"""What the model knows: sampled answers, confidence, and the classes Known, Mixed, Unknown."""
