"""Detection measured: recall, precision, false positives and milliseconds, beside Presidio's defaults."""
