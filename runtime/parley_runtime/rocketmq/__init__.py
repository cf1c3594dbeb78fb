"""A thin asyncio client of Apache RocketMQ 5 (gRPC through its proxy), and what little administration Parley needs.

Imports nothing of the runtime. Start reading at `client.py`; names of topics and groups are in `names.py`.
"""
