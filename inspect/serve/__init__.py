"""`flawmap serve`, put together."""
