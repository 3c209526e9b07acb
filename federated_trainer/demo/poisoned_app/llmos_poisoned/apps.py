"""The apps of the package, with the contribution of the institution called "law" replaced by a false one."""

from federated_trainer.client_app import make_app
from federated_trainer.demo.poison import poisoned_training
from federated_trainer.server_app import app as server_app

client_app = make_app(poisoned_training)

__all__ = ["client_app", "server_app"]
