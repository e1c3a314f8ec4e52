"""Running a search: worker processes, queue, database and result files."""
