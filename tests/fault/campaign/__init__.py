"""Random faults on a cluster under load, and a check of all that was promised: see ../README.md."""
