"""A column is dropped and committed, then the release fails: no reverse brings it back."""
