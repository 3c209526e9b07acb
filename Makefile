# A bare `make` lists the targets.
.DEFAULT_GOAL := help
PY := .venv/bin/python

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16
.PHONY: help
