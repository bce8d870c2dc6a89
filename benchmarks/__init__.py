"""Every speed budget against its floor, measured in one run: `make bench`."""
