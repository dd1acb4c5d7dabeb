"""What `flawmap serve` answers: a REST API on the runs in a folder, and one worker that inspects what it is given."""
