"""The commands of `llmos`: one module each, named as the command, whose docstring's first line is its help."""
