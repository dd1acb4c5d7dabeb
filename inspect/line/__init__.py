"""The running line: pictures as they come, results as they go, and whether the line is still what it was."""
