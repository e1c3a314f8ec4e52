"""Plans: input files, inferred values, the route and the checked spec of a requested run."""
