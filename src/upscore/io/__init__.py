"""Files: written whole or not at all, read ahead of their use."""
