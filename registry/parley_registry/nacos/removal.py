"""Deleting from Nacos with the guards that the registry promises."""

from parley_registry.entry import Agent
from parley_registry.errors import VersionInUse
from parley_registry.nacos.layout import service_of
from parley_registry.nacos.server import Nacos


async def remove(nacos: Nacos, agent: Agent, version: str | None) -> bool:
    """Delete a version, or an agent with its rollout table; False when there is nothing to delete.

    A single version is guarded. Raises LatestInUse for the latest while there are others, VersionInUse while instances
    of it live or it has a weight in the rollout table.
    """
    if version is None:
        removed = await nacos.agents.delete(agent.namespace, agent.name)
        await nacos.rollouts.forget(agent)
        return removed
    await nacos.agents.require_not_latest(agent.namespace, agent.name, version)
    for one in (await nacos.rollouts.get(agent)).versions:
        if one.version == version and one.weight > 0:
            raise VersionInUse(
                f"{version} gets {one.weight:g} % of the new contexts of {agent.name}; take its weight away in the "
                "rollout table first"
            )
    endpoints = await nacos.naming.instances(service_of(*agent, version))
    if any(one.healthy for one in endpoints):
        raise VersionInUse(
            f"{version} of {agent.name} has running instances; stop them first, or delete the agent with all its versions"
        )
    removed = await nacos.agents.delete(agent.namespace, agent.name, version)
    if removed and not await nacos.agents.versions(agent.namespace, agent.name):
        await nacos.rollouts.forget(agent)
    return removed
