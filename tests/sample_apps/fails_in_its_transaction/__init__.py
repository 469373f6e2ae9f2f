"""Code writes rows in its transaction and fails, in the way that FAILS_BY names."""
