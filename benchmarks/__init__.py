"""Measurements of speed. Not installed with the package: run from the top folder, or with ``make bench``."""
