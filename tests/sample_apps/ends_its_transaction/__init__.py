"""Code that commits or rolls back the transaction it was given, past Django."""
