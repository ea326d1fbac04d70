"""Photos in, label maps out: one in Python, many from files to files."""
