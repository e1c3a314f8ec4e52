"""AutoML: from the packaged train schema to a search that is never worse than the default."""
