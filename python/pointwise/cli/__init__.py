"""The command line: what its commands share, and each command but the benchmark."""
