"""A run as it lies on the disk: its folder, its records, its tables."""
