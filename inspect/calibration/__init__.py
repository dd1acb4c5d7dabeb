"""From scores to expected false alarms, on good images alone."""
