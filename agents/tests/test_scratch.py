"""Temporary folders of killed processes are removed by the next one; those of living ones are left alone."""

import subprocess
import sys
from pathlib import Path

from parley_agents import scratch


def test_only_the_folders_of_processes_that_are_gone_are_swept(tmp_path: Path) -> None:
    mine = scratch.make("work", tmp_path)
    code = "import sys; from pathlib import Path; from parley_agents import scratch; print(scratch.make('work', Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    theirs = Path(done.stdout.strip())
    (theirs / "file").write_text("x")
    (tmp_path / "parley-other").mkdir()
    (tmp_path / "parley-work-999999999-link").symlink_to(mine)
    assert scratch.sweep(tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [mine.name, "parley-other", "parley-work-999999999-link"]
    )
