"""The institutions' app, from the installed package.

Flower starts a process for each message: this is apart from the coordinator's app, which loads torch.
"""

from federated_trainer.client_app import app

__all__ = ["app"]
