"""Runs the checks that are wanted, and says how they ended."""

import pathlib
import sys
import time
import unittest

HERE = pathlib.Path(__file__).parent


class Report(unittest.TextTestResult):
    """A line for each check, with its seconds; the unit's journal after one that failed."""

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def tell(self, test, how):
        print(f"{how:8} {time.monotonic() - self.began:6.1f} s  {test.id().removeprefix('test_')}", flush=True)

    def addSuccess(self, test):
        self.tell(test, "ok")

    def addSkip(self, test, reason):
        self.tell(test, "skipped")
        print(f"         {reason}")

    def fails(self, test, error):
        self.tell(test, "FAILED")
        print(self._exc_info_to_string(error, test))
        print(getattr(getattr(test, "test_case", test), "journal", lambda: "")()[-6000:], flush=True)

    def addFailure(self, test, error):
        self.failures.append((test, ""))
        self.fails(test, error)

    def addError(self, test, error):
        self.errors.append((test, ""))
        self.fails(test, error)

    def addSubTest(self, test, subtest, error):
        if error:
            self.addError(subtest, error)

    def printErrors(self):
        pass


def wanted():
    loader = unittest.TestLoader()
    names = (HERE / "wanted").read_text().split()
    if not names:
        return loader.discover(str(HERE))
    return loader.loadTestsFromNames([f"test_{name}" for name in names])


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    print(pathlib.Path("/proc/version").read_text().split(" (")[0], flush=True)
    result = unittest.TextTestRunner(stream=sys.stdout, resultclass=Report, verbosity=0).run(wanted())
    print("outcome:", 0 if result.wasSuccessful() and result.testsRun else 1, flush=True)
