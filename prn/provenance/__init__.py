"""Where a file comes from: atomic files, hashes, the digest of the code, sidecars, the machine and its software."""
