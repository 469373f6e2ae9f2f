"""A release of three migrations: two add, the third writes rows and then fails."""
