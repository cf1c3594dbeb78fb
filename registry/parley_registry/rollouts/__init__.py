"""Rollout tables over the wire: `routes` (the service) and `http` (its client). What they are is in `rollout`."""
