"""Configuration: schema and loader, free of ML imports."""
