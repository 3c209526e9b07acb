"""The two Flower apps, taken from the package that each machine has installed: the bundle carries no code of its own."""

from federated_trainer.client_app import app as client_app
from federated_trainer.server_app import app as server_app

__all__ = ["client_app", "server_app"]
