"""A release: what was deployed when, and with which backup."""
