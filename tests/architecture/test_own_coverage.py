"""The table of ``make coverage``: which tests belong to a module, and how lines are shown."""

from __future__ import annotations

import pytest

from tests import own_coverage
from tests.own_coverage import PACKAGE, ROOT, Row, measure, modules, own_tests, ranges, show


def test_tests_mirror_the_source() -> None:
    assert own_tests(PACKAGE / "session" / "tables.py") == ROOT / "tests" / "session" / "test_tables.py"
    assert own_tests(PACKAGE / "compat" / "_values.py") == ROOT / "tests" / "compat" / "test_values.py"
    assert own_tests(PACKAGE / "errors.py") == ROOT / "tests" / "test_errors.py"


def test_modules_are_chosen_by_the_beginning_of_their_paths() -> None:
    assert modules(["errors.py", "limits"]) == [PACKAGE / "errors.py", PACKAGE / "limits.py"]
    assert {path.parent.name for path in modules(["session/"])} == {"session"}
    assert not any(path.name.startswith("__") for path in modules([]))


def test_lines_in_a_row_are_one_range(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranges([]) == ""
    assert ranges([3, 4, 5, 9]) == "3-5, 9"
    monkeypatch.setattr(own_coverage, "SHOWN", 2)
    assert ranges([1, 3, 5, 7]) == "1, 3 and 2 more"


def test_a_module_without_own_tests_its_own_is_named() -> None:
    row = measure(PACKAGE / "session" / "no_such_module.py")
    assert row == Row("session/no_such_module.py", None, None, "no tests/session/test_no_such_module.py")
    assert show(row).endswith("-  no tests/session/test_no_such_module.py")
