"""Projects as others have them: only the shape that deploy_ops has to cope with."""
