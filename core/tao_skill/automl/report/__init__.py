"""The report of a search: data, HTML, terminal."""
