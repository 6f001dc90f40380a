"""Whether the training core is right and fast on this machine's GPU: `make check-gpu`."""
