"""A supervisor over the real registry and the scripted orchestrator on a real host. `scripted_platform.py HOME`."""

import asyncio
import sys
from pathlib import Path

from parley_cli.home import Home
from parley_cli.supervisor import supervise
from parley_cli.team import Member, default_team

HERE = Path(__file__).parent


def main() -> int:
    home = Home.at(sys.argv[1])
    home.create()
    registry, real = default_team()[:2]
    command = tuple(
        {
            "parley_agents.orchestrator:Orchestrator": "scripted_orchestrator:Scripted",
            str(real.card): str(HERE / "scripted_card.json"),
        }.get(w, w)
        for w in real.command
    )
    return asyncio.run(supervise(home, [registry, Member("orchestrator", command, "deliver-change")]))


if __name__ == "__main__":
    sys.exit(main())
