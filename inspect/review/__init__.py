"""Marks of people on what a run found: kept, counted, turned into figures and thresholds, and set on a page."""
