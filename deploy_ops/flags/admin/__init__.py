"""The flags in Django's administration: what its pages say, ask and do."""
