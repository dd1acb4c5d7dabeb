"""Pictures too large to be held as a whole: read, cut and kept in bands of rows."""
