"""``pointwise bench``: real layers beside NumPy and frameworks, each result checked before it is timed."""
