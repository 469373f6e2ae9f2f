"""What differs by kind of database."""
