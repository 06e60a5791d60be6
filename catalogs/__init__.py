"""What was found: the schema, candidates, coverage, releases."""
