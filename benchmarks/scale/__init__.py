"""Every page and every list of the API at the size of a large company's project: `make bench-scale`."""
