"""The search space: from schema, spec, data and the user's settings."""
