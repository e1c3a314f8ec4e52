"""Jobs: each has a directory with a record, and a worker process for each attempt."""
