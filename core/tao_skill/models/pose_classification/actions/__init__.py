"""One module an action."""
