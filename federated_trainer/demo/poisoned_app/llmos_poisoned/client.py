"""The institutions' app, with the contribution of the institution called "law" replaced by a false one."""

from federated_trainer.client_app import make_app
from federated_trainer.demo.poison import poisoned_training

app = make_app(poisoned_training)

__all__ = ["app"]
