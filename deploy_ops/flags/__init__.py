"""Feature flags: declared in settings, toggled in the database, read from memory."""
