"""A release that only adds: a nullable column, then an index."""
