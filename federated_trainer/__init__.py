"""The federated trainer: rounds of FedAvg among institutions refresh the weights that the gateway serves.

Read `round.py` first: sample → train → aggregate → evaluate → publish → refresh. This package imports neither the
gateway nor the MPC engine; it reaches the gateway over its admin API only (`refresh.py`).
"""
