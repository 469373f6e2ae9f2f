"""Two-phase changes of the schema: the vocabulary of migrations, stable for ever.

Frozen migrations import these names, and from nowhere else.
"""
