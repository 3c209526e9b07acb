"""The Flower bundle of a round with one false update."""
