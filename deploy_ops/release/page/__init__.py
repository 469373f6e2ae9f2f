"""The operations page: what one keeps open during a release. It looks, and changes nothing."""
