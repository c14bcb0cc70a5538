"""What differs between families of vision-language models."""
