"""What tests of every part may use: real servers (deploy/engines; see tests/engines/README.md)."""

pytest_plugins = ["engines.fixtures", "engines.kubernetes.fixtures"]
