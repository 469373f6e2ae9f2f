"""A schema for each tenant, as django-tenants has it: a backend, and a `migrate` of its own."""
