"""The coordinator's app, taken from the package that its machine has installed: the bundle carries no code of its own."""

from federated_trainer.server_app import app

__all__ = ["app"]
