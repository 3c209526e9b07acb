"""The coordinator's app, unchanged."""

from federated_trainer.server_app import app

__all__ = ["app"]
