"""`upscore serve`: models behind a page and an API."""
