"""The people that a tenant knows, as keyed hashes, so that finding them does not depend on statistics."""
