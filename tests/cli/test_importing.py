"""A user's own module that cannot be imported: one line with the place of the error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.processes import pb


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (
            "import there_is_no_such_module\n",
            "the module 'mine' cannot be imported: ModuleNotFoundError: No module named 'there_is_no_such_module' "
            "(mine.py, line 1)",
        ),
        (
            'def fail():\n    raise RuntimeError("on\\npurpose")\n\nfail()\n',
            "the module 'mine' cannot be imported: RuntimeError: on\\npurpose (mine.py, line 2)",
        ),
        ("\ndef half(:\n", "the module 'mine' cannot be imported: invalid syntax (mine.py, line 2)"),
        ("raise SystemExit(5)\n", "the module 'mine' cannot be imported: SystemExit: 5 (mine.py, line 1)"),
        (
            "def make():\n    return 1 / 0\n",
            "mine:make() raised: ZeroDivisionError: division by zero (mine.py, line 2)",
        ),
    ],
)
def test_says_what_and_where(tmp_path: Path, source: str, complaint: str) -> None:
    (tmp_path / "mine.py").write_text(source)
    done = pb("serve", "mine:make", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"pb: {complaint}\n")


def test_the_traceback_is_there_for_whoever_asks(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def make():\n    return 1 / 0\n")
    done = pb("serve", "mine:make", "-vv", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_module_in_a_package_of_the_current_directory(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "front.py").write_text("class Counter: pass\n")
    done = pb("serve", "shop.front:Counter", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "pb: shop.front:Counter: a Counter cannot be served; "
        "derive it from pb.Root, or name its methods with pb.wrap\n",
    )
    assert "no module 'shop.back'" in pb("serve", "shop.back:Counter", cwd=tmp_path).stderr
