"""The processes behind the gateway on one machine: the model's files, Valkey, vLLM, and their supervisor."""
