"""Writes protocol/v2/generated from the declaration of the Stratum V2 messages, or with --check tells whether it is current."""

import ast
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from protocol.v2.codegen import source
from protocol.v2.layouts import Subprotocol

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "protocol" / "v2" / "generated"


def is_current(path: Path, text: str) -> bool:
    """Whether the file says the same as the generated text; how it is formatted does not matter."""
    return path.is_file() and ast.dump(ast.parse(path.read_text(encoding="utf-8"))) == ast.dump(ast.parse(text))


def main(arguments: list[str]) -> int:
    """Returns the exit code: 1 when --check finds a file out of date."""
    old = [name for name in Subprotocol if not is_current(GENERATED / f"{name.value}.py", source(name))]
    if "--check" in arguments:
        for name in old:
            sys.stderr.write(f"protocol/v2/generated/{name.value}.py is out of date; run: python docs/tools/sv2_codecs.py\n")
        return 1 if old else 0
    for name in old:
        path = GENERATED / f"{name.value}.py"
        path.write_text(source(name), encoding="utf-8")
        subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(path)], check=True, cwd=ROOT)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
