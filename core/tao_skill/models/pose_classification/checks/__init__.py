"""Checks of a spec against its data, before a job exists."""
