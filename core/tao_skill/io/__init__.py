"""Files and bytes: atomic writes, strict JSON and YAML, S3, encryption."""
