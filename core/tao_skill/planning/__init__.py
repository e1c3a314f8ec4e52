"""From a request to a plan: inputs, inference, routing."""
