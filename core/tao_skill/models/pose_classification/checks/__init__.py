"""Checks of spec against data, before a job exists."""
