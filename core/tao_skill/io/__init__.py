"""Input and output: atomic file writes, strict JSON and YAML, S3, encryption."""
