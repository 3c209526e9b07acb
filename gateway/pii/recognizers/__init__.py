"""What can be found: one recognizer an idea, all of them in Presidio's registry."""
