"""`python -m handoff.build suite.py`: makes a suite's component.

componentize-py imports the suite in an interpreter that runs as WebAssembly, and keeps the
interpreter as it then is. So what is imported at the top of a module is part of the component, and
nothing else is.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from handoff._entry import BEGIN, END

WIT = Path(__file__).parent / "wit"

ENTRY = """\
from handoff import _entry
_entry.load({name!r}, {shown!r})
from handoff._guest import Tests
"""
"""The module that componentize-py builds. It has a name that no suite has."""

_COMMAND = "import sys, componentize_py; sys.exit(componentize_py.script())"


class BuildError(Exception):
    """Why there is no component, in words for whoever writes the suite."""


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives its exit code."""
    parser = argparse.ArgumentParser(prog="python -m handoff.build", description=__doc__)
    parser.add_argument("suite", type=Path, help="a .py file, or the directory of a package")
    parser.add_argument("-o", "--output", type=Path, help="the component; default: NAME.wasm")
    args = parser.parse_args(arguments)
    output = args.output or Path(f"{args.suite.stem}.wasm")
    try:
        build(args.suite, output)
    except BuildError as error:
        print(f"failed to build {args.suite}:\n{error}", file=sys.stderr)
        return 1
    print(f"built {output}, {output.stat().st_size / 2**20:.1f} MiB")
    return 0


def build(suite: Path, output: Path) -> None:
    """Builds the suite that is in this module or package."""
    name, directory = located(suite)
    shown = os.path.relpath(directory)
    if shown.startswith((os.curdir, os.pardir)) or os.path.isabs(shown):
        shown = ""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="handoff-") as work:
        Path(work, "handoff_entry.py").write_text(ENTRY.format(name=name, shown=shown))
        built = Path(work, "suite.wasm")
        command = [sys.executable, "-c", _COMMAND, "-q", "-d", str(WIT), "-w", "suite"]
        command += ["componentize", "handoff_entry", "-o", str(built)]
        for path in [work, str(directory), *import_paths()]:
            command += ["-p", path]
        environment = {**os.environ, "RUST_BACKTRACE": "0"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0 or not built.exists():
            raise BuildError(told(done.stdout + done.stderr))
        # Beside the target first: what is there is whole at any time.
        beside = output.with_name(f".{output.name}.new")
        beside.write_bytes(built.read_bytes())
        beside.replace(output)


def located(suite: Path) -> tuple[str, Path]:
    """The name of the suite's module, and the directory that it is imported from."""
    path = suite.resolve()
    if path.is_dir() and not (path / "__init__.py").exists():
        raise BuildError("the directory is no package: it needs an __init__.py")
    if not path.is_dir() and not (path.is_file() and path.suffix == ".py"):
        raise BuildError("there is no such .py file and no such directory")
    if not path.stem.isidentifier() or path.stem in {
        "handoff",
        "wit_world",
        *sys.stdlib_module_names,
    }:
        raise BuildError(
            f"a module cannot be called {path.stem!r}, or hides Python's own: rename it"
        )
    return path.stem, path.parent


def import_paths() -> list[str]:
    """Where this interpreter imports from, without its standard library: the component has its
    own."""
    stdlib = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    stdlib |= {os.path.join(path, "lib-dynload") for path in stdlib}
    # `python -m` puts the directory that it is called in first.
    paths = sys.path if sys.flags.safe_path else sys.path[1:]
    return [path for path in paths if os.path.isdir(path) and path not in stdlib]


def told(output: str) -> str:
    """The words for the user in the output of a failed build."""
    _, begin, rest = output.partition(BEGIN)
    words, end, _ = rest.partition(END)
    return words if begin and end else output.strip()


if __name__ == "__main__":
    sys.exit(main())
