"""What the images install is what is tested: the same versions, and all that their members ask for."""

import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
MEMBERS = {
    "registry": ("core", "registry"),
    "operator": ("core", "registry", "operator"),
    "host": ("core", "registry", "runtime", "agents", "cli"),
}


def pinned(name: str) -> set[str]:
    """`package==version` of each line of a file of requirements."""
    text = (PROJECT / "requirements" / f"{name}.txt").read_text()
    return set(re.findall(r"^([A-Za-z0-9_.-]+==[^\s;]+)", text, re.MULTILINE))


@pytest.mark.parametrize("image", [*MEMBERS, "build"])
def test_an_image_has_the_versions_that_are_tested(image: str) -> None:
    assert pinned(image) <= pinned("all"), "`make lock` pins them anew"


@pytest.mark.parametrize("image", MEMBERS)
def test_an_image_has_all_that_its_members_need(image: str) -> None:
    have = {one.partition("==")[0] for one in pinned(image)}
    for member in MEMBERS[image]:
        project = tomllib.loads((PROJECT / member / "pyproject.toml").read_text())["project"]
        names = {re.split(r"[^A-Za-z0-9_.-]", one)[0].lower() for one in project["dependencies"]}
        needed = {one for one in names if not one.startswith("parley-")}
        assert needed <= have, f"{member} needs more than requirements/{image}.txt has: `make lock` pins it"


def test_every_image_is_built_of_its_members() -> None:
    containerfile = (PROJECT / "deploy" / "Containerfile").read_text()
    for image, members in MEMBERS.items():
        stage = containerfile.partition(f"AS build-{image}\n")[2].partition("\nFROM ")[0]
        assert f"COPY requirements/{image}.txt" in stage
        assert re.findall(r"^COPY (\w+) \w+$", stage, re.MULTILINE) == list(members)
        assert f"FROM base AS {image}\n" in containerfile
    assert "USER 65532:65532" in containerfile
