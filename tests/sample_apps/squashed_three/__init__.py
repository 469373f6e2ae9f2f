"""Three migrations and the squash that replaces them; some databases have two of them."""
