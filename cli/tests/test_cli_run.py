"""`parley run` and what goes with it, as a user calls it: real registry, real host, a scripted orchestrator."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parley_cli import local
from parley_cli.client import Parley, run_sync
from parley_cli.events import Event, InputRequired, JobEnded, JobStarted
from parley_cli.home import Home

pytestmark = pytest.mark.processes

PROGRAMS = Path(__file__).parent / "programs"
PARLEY = Path(sys.executable).with_name("parley")
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home.at(tmp_path_factory.mktemp("platform") / "home")
    patch = pytest.MonkeyPatch()
    patch.setattr(local, "COMMAND", (sys.executable, str(PROGRAMS / "scripted_platform.py")))
    patch.setenv("PYTHONPATH", str(PROGRAMS))
    local.up(home)
    patch.undo()
    yield home
    local.down(home)


@pytest.fixture
def parley(home: Home, tmp_path: Path) -> Command:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PARLEY_")} | {
        "PARLEY_HOME": str(home.root)
    }

    def call(*words: str, **more: object) -> "subprocess.CompletedProcess[str]":
        command = [str(PARLEY), *words]
        options = {
            "cwd": tmp_path,
            "env": environment,
            "capture_output": True,
            "text": True,
            "timeout": 60,
        } | more
        return subprocess.run(command, **options)  # type: ignore[call-overload,no-any-return]

    return call


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "a.py").write_text("import os\nx = 1\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        git(repo, *command)
    return repo


def git(repo: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *words]
    return subprocess.run(command, cwd=repo, check=True, capture_output=True, text=True).stdout


def patch_of(ended: JobEnded) -> str:
    return Path(ended.out_dir, "change.patch").read_text()


def events(done: "subprocess.CompletedProcess[str]") -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_verified_job_leaves_a_patch_that_applies(parley: Command, repo: Path, tmp_path: Path) -> None:
    done = parley("run", "verified", "--repo", "repo", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "verified after" in done.stdout
    (folder,) = (tmp_path / "out").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "change.bundle", "change.patch", "junit.xml", "plan.json", "report.md", "review.sarif",
    ]  # fmt: skip
    assert git(repo, "status", "--porcelain") == ""
    git(repo, "fetch", "-q", str(folder / "change.bundle"), "parley")
    assert git(repo, "log", "--format=%s", "HEAD..FETCH_HEAD") == "Unused imports\n"
    git(repo, "apply", str(folder / "change.patch"))
    assert (repo / "a.py").read_text() == "x = 1\n"


def test_a_job_that_is_not_verified_exits_with_1(parley: Command, repo: Path) -> None:
    done = parley("run", "refused, nothing done", "--repo", str(repo))
    assert done.returncode == 1
    assert "NOT verified" in done.stdout
    assert "git apply" not in done.stdout  # there is nothing in the patch


def test_json_is_one_event_a_line_from_start_to_end(parley: Command, repo: Path) -> None:
    rows = events(parley("run", "verified", "--repo", str(repo), "--json"))
    kinds = [row["event"] for row in rows]
    assert kinds[0] == "job-started"
    assert kinds[-1] == "job-ended"
    assert {"plan-ready", "step-update", "step-again", "step-ended", "agent-status", "artifact-ready"} <= set(
        kinds
    )
    assert rows[-1]["verified"] is True
    assert Path(rows[-1]["out_dir"], "report.md").exists()


def test_a_task_from_standard_input_arrives_as_it_is(parley: Command, repo: Path) -> None:
    task = '-v it\'s "quoted" $HOME `id`\nand two lines — verified'
    done = parley("run", "-", "--repo", str(repo), "--json", input=task)
    report = Path(events(done)[-1]["out_dir"], "report.md").read_text()
    assert json.loads(report.partition(": ")[2])["goal"] == task


def test_options_reach_the_orchestrator_also_from_the_environment(
    parley: Command, repo: Path, home: Home
) -> None:
    environment = {
        **os.environ,
        "PARLEY_HOME": str(home.root),
        "PARLEY_ROUNDS": "7",
        "PARLEY_TASK": "verified",
    }
    done = parley("run", "--repo", str(repo), "--timeout", "99", "--json", env=environment)
    report = Path(events(done)[-1]["out_dir"], "report.md").read_text()
    assert json.loads(report.partition(": ")[2])["options"] == {"rounds": 7, "seconds": 99}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "   "), "the text is empty"),
        (("run", "x", "--repo", "/nonexistent"), "there is no folder"),
        (("run", "x", "--repo", "."), "is not a git repository"),
        (("run", "x", "--rounds", "0"), "--rounds"),
        (("run",), "task"),
        (("frobnicate",), "frobnicate"),
        (("logs", "nobody"), "there are: orchestrator, registry, supervisor"),
        (("host", "nocolon", "--card", "x.json"), "cannot read the card x.json"),
        (("run", "x", "--context", "nonsense"), "no earlier conversation"),
        (
            ("run", "fix", "lint", "--repo", "."),
            "put the text in quotes, so that it is one: parley run … 'fix lint'",
        ),
        (("run", "x", "--out", "/dev/null"), "choose another place with --out"),
        (("run", "x", "--svg", "/dev/null/x.svg"), "choose another place with --svg"),
        (("run", "x", "--registry", "nonsense"), "'nonsense' is not a registry"),
        (("send", "nobody", "hello"), "nobody"),
        (("send", "orchestrator", "x", "--token-file", "none"), "cannot read the token in none"),
        (("task", "watch", "zzz"), "does not know the task"),
        (("task", "cancel", "zzz"), "does not know the task"),
        (("task", "show", "zzz", "--trace"), "keeps no trace of task zzz"),
        (("task", "answer", "zzz", "a", "b"), "put the text in quotes"),
    ],
)
def test_misuse_is_one_clear_line_and_exit_code_2(parley: Command, words: tuple[str, ...], said: str) -> None:
    done = parley(*words)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr


async def test_detached_jobs_run_side_by_side_each_on_its_own_snapshot(
    parley: Command, home: Home, repo: Path
) -> None:
    first = parley("run", "verified", "-d", "--repo", str(repo)).stdout.strip()
    (repo / "b.py").write_text("import os\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "second")
    async with Parley(home=home.root) as client:
        second = await client.start("verified", repo=repo, out=repo.parent / "out")
        assert first != second
        for job, files in ((first[:8], 1), (second, 2)):
            ended = [event async for event in client.watch(job)][-1]
            assert isinstance(ended, JobEnded)
            assert ended.verified
            assert patch_of(ended).count("diff --git") == files


def test_watching_an_ended_job_shows_it_whole(
    parley: Command, home: Home, repo: Path, tmp_path: Path
) -> None:
    ran: list[Event] = []
    run_sync("verified", repo=repo, home=home.root, out=tmp_path / "out", on_event=ran.append)
    watched = events(parley("task", "watch", "last", "--json"))
    assert [row["event"] for row in watched] == [event.kind for event in ran]
    assert watched[-1]["out_dir"] == ran[-1].to_json()["out_dir"]


def test_ctrl_c_leaves_the_job_running_on_a_platform_that_stays(
    parley: Command, repo: Path, home: Home
) -> None:
    command = [
        str(PARLEY),
        "--home",
        str(home.root),
        "run",
        "slow",
        "--json",
        "--repo",
        str(repo),
    ]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stdout
    job = json.loads(watching.stdout.readline())["job"]
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert f"parley task watch {job[:8]}" in said
    assert (
        json.loads(parley("task", "get", job[:8], "--json").stdout)["status"]["state"] == "TASK_STATE_WORKING"
    )
    done = parley("task", "cancel", job[:8])
    assert (done.returncode, done.stdout) == (0, "canceled\n")
    assert events(parley("task", "watch", job, "--json"))[-1]["state"] == "canceled"


def test_a_question_is_answered_later_from_elsewhere(parley: Command, repo: Path) -> None:
    done = parley("run", "asks", "--repo", str(repo), "--json")
    assert done.returncode == 1
    asked = events(done)[-1]
    assert (asked["event"], asked["question"]) == ("input-required", "Deliver it?")
    assert Path(asked["out_dir"], "change.patch").exists()
    assert "parley task answer" in done.stderr
    assert parley("task", "answer", "last", "yes").returncode == 0
    watched = parley("task", "watch", "last", "--json")
    assert watched.returncode == 0
    assert [row["event"] for row in events(watched)].count("input-required") == 0
    again = parley("task", "answer", asked["job"], "yes")
    assert again.returncode == 2
    assert "does not wait for an answer: it is completed" in again.stderr


def test_a_session_goes_on_from_what_the_last_job_delivered(
    parley: Command, home: Home, repo: Path, tmp_path: Path
) -> None:
    first = run_sync("verified", repo=repo, home=home.root, out=tmp_path / "out")
    second = events(parley("run", "again verified", "--context", "last", "--json"))
    assert second[0]["context"] == first.context
    patch = Path(second[-1]["out_dir"], "change.patch")
    git(repo, "apply", str(patch))
    assert (repo / "a.py").read_text() == "x = 1\n# again\n"


def test_a_job_begun_from_nowhere_is_found_by_the_whole_id_only(parley: Command) -> None:
    done = parley("task", "get", "00000000-0000-0000-0000-000000000000")
    assert done.returncode == 2
    assert "does not know the task" in done.stderr


def test_tasks_agents_and_processes_are_shown(
    parley: Command, home: Home, repo: Path, tmp_path: Path
) -> None:
    run_sync("verified and listed", repo=repo, home=home.root, out=tmp_path / "out")
    assert "verified and listed" in parley("task", "list").stdout
    assert (
        json.loads(parley("agents", "show", "orchestrator", "--json").stdout)["card"]["name"]
        == "orchestrator"
    )
    assert "orchestrator" in parley("agents", "search", "--skill", "deliver-change").stdout
    nobody = parley("agents", "versions", "nobody")
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert "nobody" in nobody.stderr
    assert "orchestrator" in parley("status").stdout
    assert "orchestrator" in parley("logs", "-n", "1").stdout


def test_the_trace_shows_where_time_went(parley: Command, home: Home, repo: Path, tmp_path: Path) -> None:
    run_sync("verified", repo=repo, home=home.root, out=tmp_path / "out")
    shown = parley("task", "show", "last", "--trace")
    assert shown.returncode == 0
    assert "orchestrator 1.0.0" in shown.stdout
    assert "message 1" in shown.stdout


def test_send_speaks_to_an_agent_by_name_and_by_url(parley: Command) -> None:
    done = parley("send", "orchestrator", "verified", "--json")
    assert done.returncode == 0
    url = json.loads(parley("agents", "show", "orchestrator", "--json").stdout)["instances"][0]["url"]
    base = url.split("/a2a")[0]
    assert parley("send", base, "asks").returncode == 1
    assert parley("task", "answer", "last", "yes").returncode == 0
    gone = parley("send", "http://127.0.0.1:9", "hello")
    assert gone.returncode == 1
    assert "no agent card at http://127.0.0.1:9" in gone.stderr


async def test_the_python_client_answers_inside_the_loop(home: Home, repo: Path, tmp_path: Path) -> None:
    seen: list[Event] = []
    async with Parley(home=home.root) as client:
        async for event in client.run("asks", repo=repo, out=tmp_path / "out"):
            seen.append(event)
            if isinstance(event, InputRequired):
                await client.answer(event.job, "yes")
    assert isinstance(seen[0], JobStarted)
    assert isinstance(seen[-1], JobEnded)
    assert seen[-1].verified
    assert sum(isinstance(event, InputRequired) for event in seen) == 1


async def test_a_job_outlives_its_client_and_is_canceled_by_another(
    home: Home, repo: Path, tmp_path: Path
) -> None:
    async with Parley(home=home.root) as client:
        async for event in client.run("slow", repo=repo, out=tmp_path / "out"):
            job = event.job
            break
    async with Parley(home=home.root) as other:
        assert await other.cancel(job) == "canceled"
        events = [event async for event in other.watch(job)]
    assert isinstance(events[-1], JobEnded)
    assert events[-1].state == "canceled"


def test_a_large_repository_travels_beside_the_messages(home: Home, repo: Path, tmp_path: Path) -> None:
    (repo / "large.bin").write_bytes(os.urandom(24 * 2**20))  # more than a host takes in one message
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "large")
    assert run_sync("nothing", repo=repo, out=tmp_path / "out", home=home.root).verified
    (blob,) = [path for path in (home.root / "blobs").rglob("*") if path.is_file()]
    assert blob.stat().st_size > 24 * 2**20


def test_the_synchronous_call_returns_the_result(home: Home, repo: Path, tmp_path: Path) -> None:
    result = run_sync("verified", repo=repo, out=tmp_path / "out", home=home.root)
    assert result.verified
    assert result.state == "completed"
    assert result.files["change.patch"].read_text().startswith("diff --git")
    assert [(step.id, step.rounds, step.agents) for step in result.steps] == [("unused", 1, ("coder",))]


def test_help_is_quick_and_names_every_command(parley: Command) -> None:
    best = 9.0
    for _ in range(3):
        started = time.monotonic()
        shown = parley("--help")
        best = min(best, time.monotonic() - started)
    for command in ("run", "up", "down", "status", "logs", "agents", "send", "task", "host", "registry"):
        assert f"\n  {command}" in shown.stdout
    assert best < 1.5  # 0.2 s on an idle machine
    assert parley("--version").stdout.startswith("parley 0.")


def test_the_shell_can_complete_commands(parley: Command, home: Home) -> None:
    environment = {
        **os.environ,
        "_PARLEY_COMPLETE": "complete_bash",
        "COMP_WORDS": "parley ta",
        "COMP_CWORD": "1",
    }
    assert "task" in parley(env=environment).stdout
