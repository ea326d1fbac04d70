"""Other libraries' names for what upscore does."""
