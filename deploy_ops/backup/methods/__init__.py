"""Ways of saving a database."""
