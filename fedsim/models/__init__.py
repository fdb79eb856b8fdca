"""Reference models, one per file, each split into ``features(x)`` and ``head(z)``."""
