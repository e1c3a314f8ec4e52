"""Recordings of other formats as TAO's arrays: one file a format, and what all of them need."""
