"""Runs unittest and writes JUnit XML. A program for inside of the sandbox: standard library only.

`python inside_unittest.py JUNIT [START]`; PARLEY_ONLY may name a file with the ids of the tests to run.
"""

import os
import sys
import time
import traceback
import unittest
from xml.etree import ElementTree


class _Recorder(unittest.TextTestResult):
    def startTest(self, test):  # type: ignore[no-untyped-def]
        self.cases = getattr(self, "cases", {})
        self.began = time.monotonic()
        self.note(test, "passed", "")
        super().startTest(test)

    def stopTest(self, test):  # type: ignore[no-untyped-def]
        self.cases[test.id()][2] = time.monotonic() - self.began
        super().stopTest(test)

    def note(self, test, outcome, message):  # type: ignore[no-untyped-def]
        self.cases = getattr(self, "cases", {})
        seconds = self.cases.get(test.id(), ("", "", 0.0))[2]
        self.cases[test.id()] = [outcome, message, seconds]

    def addError(self, test, err):  # type: ignore[no-untyped-def]
        super().addError(test, err)
        self.note(test, "error", self.errors[-1][1])

    def addFailure(self, test, err):  # type: ignore[no-untyped-def]
        super().addFailure(test, err)
        self.note(test, "failure", self.failures[-1][1])

    def addSkip(self, test, reason):  # type: ignore[no-untyped-def]
        super().addSkip(test, reason)
        self.note(test, "skipped", reason)

    def addSubTest(self, test, subtest, err):  # type: ignore[no-untyped-def]
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note(test, "failure", "".join(traceback.format_exception(*err)))

    def addUnexpectedSuccess(self, test):  # type: ignore[no-untyped-def]
        super().addUnexpectedSuccess(test)
        self.note(test, "failure", "unexpected success")


def _each(suite):  # type: ignore[no-untyped-def]
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _each(test)
        else:
            yield test


def main() -> int:
    target, start = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "."
    sys.path.insert(0, os.getcwd())
    suite = unittest.defaultTestLoader.discover(
        start, pattern="*test*.py", top_level_dir="." if start == "." else None
    )
    only = os.environ.get("PARLEY_ONLY")
    if only:
        with open(only, encoding="utf-8") as file:
            wanted = set(file.read().split("\0"))
        suite = unittest.TestSuite(
            t for t in _each(suite) if "::".join(t.id().rpartition(".")[::2]) in wanted
        )
    result = unittest.TextTestRunner(
        resultclass=_Recorder,  # type: ignore[arg-type]
        verbosity=1,
        buffer=True,
    ).run(suite)
    root = ElementTree.Element("testsuites")
    cases = getattr(result, "cases", {})
    group = ElementTree.SubElement(root, "testsuite", name="unittest", tests=str(len(cases)))
    for name, (outcome, message, seconds) in cases.items():
        classname, _, method = name.rpartition(".")
        case = ElementTree.SubElement(
            group, "testcase", classname=classname, name=method, time=f"{seconds:.3f}"
        )
        if outcome != "passed":
            child = ElementTree.SubElement(
                case, outcome, message=message.strip().splitlines()[-1][:500] if message else ""
            )
            child.text = "".join(c for c in message if c in "\t\n" or ord(c) >= 32)
    ElementTree.ElementTree(root).write(target, encoding="utf-8", xml_declaration=True)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
