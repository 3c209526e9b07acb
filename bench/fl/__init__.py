"""Measurements of the federated trainer."""
