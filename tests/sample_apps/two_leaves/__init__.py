"""Two branches each added a 0002, and nobody merged them."""
