"""What the plant decides on regions: measured, named, judged."""
