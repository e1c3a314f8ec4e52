"""Where trials train: processes, queue, database, and the files a search leaves."""
