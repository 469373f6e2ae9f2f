"""Without a transaction around it, a migration fails half-way: column there, not recorded."""
