"""The KV cache: which tokens it keeps, in how many bits, what it takes, and what of it waits elsewhere."""
