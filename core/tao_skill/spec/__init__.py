"""Specs of actions: parameters, schema, template, loading and validation."""
