"""PostgreSQL only: an index built without blocking writes."""
