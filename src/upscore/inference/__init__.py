"""A trained model in use: photos in, coarse scores or labels out, whatever runs the network."""
