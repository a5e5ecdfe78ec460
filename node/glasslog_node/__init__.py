"""The trio shell round the pure protocol: everything that can block, or fail by I/O."""
