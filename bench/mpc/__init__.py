"""Measurements of MPC inference."""
