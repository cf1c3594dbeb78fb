"""A supervisor over members that do nothing but answer, for tests of the platform's life.

`stub_platform.py HOME` reads HOME/stub.json: {"members": {name: mode}}; mode is "ok", "stubborn" (ignores
SIGTERM), "broken" (ends at once) or "parent" (has a child process of its own).
"""

import asyncio
import json
import sys
from pathlib import Path

from parley_cli import supervisor
from parley_cli.home import Home
from parley_cli.team import Member

MEMBER = """
import http.server, os, signal, subprocess, sys, pathlib
mode, listen, home = sys.argv[1:]
if mode == "broken":
    print("cannot open the frobnicator")
    sys.exit(7)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
if mode == "parent":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path(home, "grandchild").write_text(str(child.pid))
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
    def log_message(self, *_):
        pass
host, port = listen.split(":")
http.server.HTTPServer((host, int(port)), Ready).serve_forever()
"""


def main() -> int:
    home = Home.at(sys.argv[1])
    home.create()
    modes = json.loads(Path(home.root, "stub.json").read_text())["members"]
    members = [
        Member(
            name,
            (
                sys.executable,
                "-c",
                MEMBER.replace("{", "{{").replace("}", "}}"),
                mode,
                "{listen}",
                str(home.root),
            ),
        )
        for name, mode in modes.items()
    ]
    supervisor.PATIENCE = 1.0
    return asyncio.run(supervisor.supervise(home, members))


if __name__ == "__main__":
    sys.exit(main())
