"""The audit's records, their chain and its verification: pure functions; the log itself stands in `gateway.stores.audit`."""
