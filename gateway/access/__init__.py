"""Who may do what: roles, API keys, OIDC tokens. Decisions only; the records stand in `gateway.stores.keys`."""
