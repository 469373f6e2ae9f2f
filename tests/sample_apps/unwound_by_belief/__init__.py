"""Code whose reverse gives nothing back, though it says so; then a migration fails."""
