"""Sample data: a seeded generator of industrial surfaces and their defects, in the MVTec AD layout."""
