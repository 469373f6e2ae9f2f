"""A release from its tag to its traffic: the checks around it, its host, and the way back."""
