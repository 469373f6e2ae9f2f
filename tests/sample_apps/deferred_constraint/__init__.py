"""A receipt of a trip that does not exist: the deferred foreign key fails at COMMIT."""
