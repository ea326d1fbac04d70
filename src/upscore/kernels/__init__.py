"""What all compiled kernels share: compiling and caching, threads, vectors, half precision."""
