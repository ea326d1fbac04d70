"""One file a kind of picture: how its windows are read."""
