"""The doors of an agent host: JSON-RPC, HTTP+JSON and gRPC, each over the same front.

May import the front and the store port. Start reading at `app.py`; `guard.py` is what every door goes through.
"""
