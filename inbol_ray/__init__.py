"""inbol_ray: teach a multimodal LLM to refuse what it cannot answer (InBoL, arXiv 2412.11196), on Ray."""

__version__ = "0.1.0"
