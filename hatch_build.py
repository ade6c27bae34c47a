"""Compiles the core into the wheel where there is a compiler, and leaves it plain Python otherwise.

The source and the behaviour are the same; ``pb --version`` shows the kind of the installed one, docs/performance.md the
gain. The modules are named in pyproject.toml. An editable install is never compiled: it follows the source.

PERSPECTIVE_BROKER_COMPILE=0 builds plain Python, =1 fails if compiling does.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "PERSPECTIVE_BROKER_COMPILE"


class CustomBuildHook(BuildHookInterface[Any]):
    """Called by the build backend, for wheels."""

    def dependencies(self) -> list[str]:
        """Return the requirements of compiling; empty if the wheel stays plain."""
        return list(self.config["needs"]) if self._wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the compiled modules beside their sources in the wheel that is about to be built."""
        if version == "editable" or not self._wanted():
            return
        self._folder = tempfile.TemporaryDirectory()
        try:
            built = self._compile(Path(self._folder.name))
        except (Exception, SystemExit) as error:  # the compiler has printed its error
            if os.environ.get(SWITCH) == "1":
                raise
            self.app.display_warning(f"perspective-broker stays plain Python, for compiling failed: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update(built)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the files that were only needed for packing."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()

    def _wanted(self) -> bool:
        return os.environ.get(SWITCH) != "0" and (os.environ.get(SWITCH) == "1" or _can_compile())

    def _compile(self, folder: Path) -> dict[str, str]:
        """Compile a copy of the source in ``folder``; return the results: file -> path in the wheel."""
        # Both are installed only if dependencies() returned them.
        from mypyc.build import mypycify  # type: ignore[import-untyped, import-not-found, unused-ignore]
        from setuptools import Distribution  # type: ignore[import-untyped, import-not-found, unused-ignore]

        source = folder / "src"
        shutil.copytree(
            Path(self.root, "src"), source, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
        )
        before = Path.cwd()
        os.chdir(source)
        try:
            options = [
                "--config-file=",
                "--ignore-missing-imports",
                "--follow-imports=silent",
                "--explicit-package-bases",
            ]
            extensions = mypycify(
                [*options, *self.config["modules"]],
                opt_level="3",
                debug_level="0",
                group_name="perspective_broker",
                target_dir=str(folder / "c"),
            )
            for extension in extensions:
                extension.include_dirs.insert(0, _mended_runtime(folder / "runtime"))
            distribution = Distribution({"name": "perspective-broker", "ext_modules": extensions})
            command = distribution.get_command_obj("build_ext")
            command.build_lib = str(folder / "lib")
            command.build_temp = str(folder / "o")
            command.ensure_finalized()
            command.run()
        finally:
            os.chdir(before)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        return {
            str(file): str(file.relative_to(folder / "lib")) for file in (folder / "lib").rglob(f"*{suffix}")
        }


def _mended_runtime(folder: Path) -> str:
    """Make a folder with corrected files of mypyc's runtime, to be included before the others.

    A class's text is freed with the allocator for objects before Python 3.13, and mypyc's runtime allocates it with
    the other one. An import that is interrupted frees classes; ``python -X dev``, which checks allocators, aborts.
    """
    from mypyc.build import include_dir  # type: ignore[import-untyped, import-not-found, unused-ignore]

    folder.mkdir(exist_ok=True)
    if sys.version_info < (3, 13):
        runtime = Path(include_dir(), "misc_ops.c").read_text("utf-8")
        mended = re.sub(r"(\bchar \*(?:tp_)?doc = \(char \*\))PyMem_Malloc\b", r"\1PyObject_Malloc", runtime)
        (folder / "misc_ops.c").write_text(mended, "utf-8")
    return str(folder)


def _can_compile() -> bool:
    """Whether there are a C compiler and Python's headers."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "")
    if sys.platform != "win32" and not (compiler and shutil.which(compiler[0])):
        return False
    return Path(sysconfig.get_path("include"), "Python.h").exists()
