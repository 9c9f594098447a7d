"""Generate the Python code of the contract, and check that the committed code is up to date.

`make proto` runs this with the pinned protocol compiler; `--check` needs the standard library only.
What must stay true: files are compiled with this folder as the include path, so that their names
inside protobuf's process-wide registry (`perdure_proto/v1/…`) are ours alone, and so that the
generated imports are right as they come. `SOURCES.sha256` holds the digest of every source and
every generated file: a contract changed without `make proto` and generated code changed by hand
both fail the check. `sha256sum --check` reads it too.
"""

import argparse
import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent
CONTRACT = ROOT / "perdure_proto" / "v1"
SEAL = CONTRACT / "SOURCES.sha256"
SERVICE = re.compile(r"^service\s", re.MULTILINE)


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare; change nothing")
    if parser.parse_args().check:
        return check(SEAL)
    generate(CONTRACT)
    SEAL.write_text(digests(CONTRACT), encoding="utf-8")
    print(f"generated {len(list(CONTRACT.glob('*_pb2*')))} files in {CONTRACT}")
    return 0


def check(seal: Path) -> int:
    """Compare the digests in `seal` with those of the files beside it."""
    recorded = seal.read_text(encoding="utf-8") if seal.exists() else ""
    found = digests(seal.parent)
    if recorded == found:
        return 0
    changed = {line.split("  ")[-1] for line in {*recorded.splitlines()} ^ {*found.splitlines()}}
    print(f"generated code is out of date, run `make proto`: {', '.join(sorted(changed))}")
    return 1


def digests(contract: Path) -> str:
    """Return one line of digest and name for each source and each generated file."""
    files = sorted([*contract.glob("*.proto"), *contract.glob("*_pb2*.py*")])
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files]
    return "\n".join(lines) + "\n"


def generate(contract: Path) -> None:
    """Replace the generated files by those of the sources as they are now."""
    for old in contract.glob("*_pb2*.py*"):
        old.unlink()
    sources = sorted(contract.glob("*.proto"))
    services = [file for file in sources if SERVICE.search(file.read_text(encoding="utf-8"))]
    _compile(sources, ["python", "mypy"])
    if services:  # the others would only get empty modules
        _compile(services, ["grpc_python", "mypy_grpc"])


def _compile(sources: list[Path], outputs: list[str]) -> None:
    bin_folder = Path(sys.executable).parent
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        f"--plugin=protoc-gen-mypy={bin_folder / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={bin_folder / 'protoc-gen-mypy_grpc'}",
        f"-I{ROOT}",
        *(f"--{output}_out={'quiet:' if 'mypy' in output else ''}{ROOT}" for output in outputs),
        *(str(source) for source in sources),
    ]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
