"""What the gateway adds, measured beside LiteLLM Proxy: `python -m bench.gateway`."""
