"""Configuration: its sections, the whole of them (`schema`) and the loader, free of ML imports."""
