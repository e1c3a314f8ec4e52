"""The spec of an action: parameters, schema, template, loading and checking."""
