"""Push notifications through a durable outbox (A2A section 4.3.3). Start reading at outbox.py, then sender.py."""
