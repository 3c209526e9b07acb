"""Nonlinear functions on shares: each opens one masked value, then every party evaluates a key of its own."""
