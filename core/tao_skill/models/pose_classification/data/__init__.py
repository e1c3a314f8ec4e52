"""Sequences and labels: reading, checking, importing, generating."""
