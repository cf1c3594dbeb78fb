"""`parley mcp`: an MCP server is registered, found and deleted from the command line."""

import json
from pathlib import Path

from cli_processes import called, registry


def test_a_server_is_registered_found_shown_and_deleted(tmp_path: Path) -> None:
    told = {
        "name": "io.github.team/weather",
        "version": "1.0.0",
        "description": "Weather \u202eof a place",
        "protocol": "sse",
        "endpoints": ["https://weather.example.com/sse"],
        "tools": [
            {"name": "forecast", "description": "A forecast", "inputSchema": {"properties": {"place": {}}}}
        ],
    }
    file = tmp_path / "weather.json"
    file.write_text(json.dumps(told))
    with registry(tmp_path) as url:
        there = ("--registry", url)
        done = called(tmp_path, "mcp", "register", str(file), *there)
        assert (done.returncode, done.stdout) == (0, "registered: io.github.team/weather 1.0.0\n"), (
            done.stderr
        )
        listed = called(tmp_path, "mcp", "list", "forecast", "--json", *there)
        assert json.loads(listed.stdout)["name"] == told["name"]
        shown = called(tmp_path, "mcp", "show", "io.github.team/weather", *there).stdout
        assert "  tool forecast(place): A forecast\n" in shown
        assert "\u202e" not in shown
        assert called(tmp_path, "mcp", "delete", "io.github.team/weather", *there).returncode == 2
        gone = called(tmp_path, "mcp", "delete", "io.github.team/weather@1.0.0", *there)
        assert gone.stdout == "deleted: io.github.team/weather 1.0.0\n"
        assert called(tmp_path, "mcp", "show", "io.github.team/weather", *there).returncode == 2

        file.write_text(json.dumps({**told, "protocol": "smoke", "version": "x"}))
        refused = called(tmp_path, "mcp", "register", str(file), *there)
        assert refused.returncode == 2
        assert "protocol: must be one of" in refused.stderr
        assert "version: is not a semantic version" in refused.stderr
