"""The same Llama on plain CrypTen: an independent implementation for tests and for the benchmark, never for production."""
