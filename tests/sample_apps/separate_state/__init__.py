"""Fields and models that both lists of a SeparateDatabaseAndState change."""
