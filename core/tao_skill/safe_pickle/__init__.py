"""Pickles and torch archives of others, read without running anything."""
