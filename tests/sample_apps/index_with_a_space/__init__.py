"""An index is built concurrently over a value that some rows do not have."""
