"""What people write and read in Kubernetes: Agent, AgentVersion and AgentTeam, as pydantic models.

base → pod, card, scaling, security, rollout, conditions, status → agent → version, team · schema (what becomes of them as CRDs)
"""
