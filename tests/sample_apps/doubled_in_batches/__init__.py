"""Without a transaction around it, code doubles every trip, one commit each."""
