"""Several models for one part: which picture goes to which bundle, and what the pictures of a part say together."""
