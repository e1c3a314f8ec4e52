"""Readers for untrusted pickles and torch archives, which execute no code from the file."""
