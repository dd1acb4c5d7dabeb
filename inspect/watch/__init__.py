"""`flawmap watch`, put together."""
