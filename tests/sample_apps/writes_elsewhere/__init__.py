"""Code that writes to another database too, and then fails."""
