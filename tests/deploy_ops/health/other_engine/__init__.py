"""A kind of database that deploy_ops does not know, as Oracle is: SQLite under another name."""
