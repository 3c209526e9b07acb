"""The Flower bundle of the federated trainer."""
