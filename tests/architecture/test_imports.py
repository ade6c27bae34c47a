"""The rooms import only what the design allows: the contracts in pyproject.toml hold."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = ROOT / "pyproject.toml"
CONTRACTS = [
    contract["id"] for contract in tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
]

# A process of its own: import-linter changes sys.path and the logging set-up of the one it runs in.
LINT = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(config_filename=sys.argv[1], limit_to_contracts=(sys.argv[2],), no_cache=True))
"""


@pytest.mark.parametrize("contract", CONTRACTS)
def test_import_contract_is_kept(contract: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LINT, str(PYPROJECT), contract],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_takes_long_to_import_and_few_programs_need_is_not_imported() -> None:
    program = "import sys, perspective_broker; print(*sorted({*sys.argv[1:]} & {*sys.modules}))"
    heavy = [
        "msgspec",
        "numpy",
        "pydantic",
        "attrs",
        "cryptography",
        "sqlalchemy",
        "rich",
        "cyclopts",
        "twisted",
    ]
    found = subprocess.run(
        [sys.executable, "-c", program, *heavy],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert (found.stdout.strip(), found.stderr) == ("", "")
