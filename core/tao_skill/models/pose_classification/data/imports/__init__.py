"""Import recordings of other formats as arrays for TAO: one module per format, and their shared code."""
