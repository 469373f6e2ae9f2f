"""Tables, columns and indexes with spaces, umlauts and quotes in their names."""
