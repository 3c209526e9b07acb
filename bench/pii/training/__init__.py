"""How the names model is made: templates, values, training. Run by hand; the service uses the result only."""
