"""Real servers on loopback: for a developer (`make engines`), for the tests and for CI. Start reading at run.py and postgres.py."""
