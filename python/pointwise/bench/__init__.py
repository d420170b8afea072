"""``pointwise bench``: times layers of real networks with pointwise, NumPy and frameworks. Checks each result first."""
