"""An index of a partitioned parent alone, to be completed partition by partition."""
