"""A RunPython without reverse commits, then the release fails."""
