"""The Llama architecture: in the clear (reference), prepared to integers, and on shares."""
