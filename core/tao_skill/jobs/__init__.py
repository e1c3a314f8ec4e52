"""Jobs: one record a folder, one process an attempt."""
