"""Generation of sample data."""
