"""What deploy/ ships for a host, checked by the tools it is for and, where it can be, run."""
