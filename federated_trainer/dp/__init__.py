"""Differential privacy of training: DP-SGD inside a client, distributed noise among many, their accounts.

Two units, never mixed: the data subject of one institution (`dp_sgd`, `ledger`), and the client among many (`client_level`).
"""
