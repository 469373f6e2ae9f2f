"""Every migration commits; a post_migrate handler then fails."""
