"""Sequences and labels: reading, checking, importing and generating."""
