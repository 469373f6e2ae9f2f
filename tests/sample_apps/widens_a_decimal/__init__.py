"""A decimal gets more digits; then a migration fails."""
