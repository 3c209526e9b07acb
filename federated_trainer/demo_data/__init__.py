"""Generated text of three invented institutions; see README.md for the data card."""
