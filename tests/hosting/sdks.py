"""Both major versions of the AWS SDK, and workers that host functions with them."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.hosting.hosted import HostedMachine
from tests.system.processes import Machine

# The last one of the first line; the third one is installed with the tools of this project.
SDK_1: Final = "aws-durable-execution-sdk-python>=1.7,<2"
INSTALL_S_MAX: Final = 300


@pytest.fixture(scope="session")
def aws_sdk_1(request: pytest.FixtureRequest) -> Path:
    """Return a folder with version 1 of the AWS SDK, installed once for each checkout."""
    cache: Any = request.config.cache
    folder = Path(cache.mkdir("aws-sdk-1"))
    installed = folder / "packages"
    if not installed.exists():
        # Several test processes can come here at once: the first one puts the folder in place.
        fresh = Path(tempfile.mkdtemp(dir=folder))
        command = [*(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")]
        subprocess.run(
            [*command, "--disable-pip-version-check", "--target", str(fresh), SDK_1],
            check=True,
            timeout=INSTALL_S_MAX,
        )
        try:
            fresh.rename(installed)
        except OSError:
            shutil.rmtree(fresh)
    return installed


def sdk_environment(sdk: Path | None) -> dict[str, str]:
    """Return the environment of a worker that hosts with an SDK (None: the installed one)."""
    return {} if sdk is None else {"PYTHONPATH": str(sdk)}


@contextmanager
def hosting_machine(
    folder: Path, functions: Path, sdk: Path | None = None, *options: str
) -> Generator[HostedMachine]:
    """Run a server, and a worker that hosts a file's functions with an SDK (None: installed)."""
    with Machine(folder, environment=sdk_environment(sdk)) as machine:
        machine.start_server()
        hosted = HostedMachine(machine, functions, *options)
        try:
            yield hosted
        finally:
            hosted.close()
            print(machine.logs_text())  # noqa: T201 - pytest keeps it for the report of a failure


def hosted_by_each_sdk(functions: Path, name: str) -> object:
    """Return a fixture, under the name: a file's functions hosted with each version of the SDK."""

    @pytest.fixture(scope="module", params=["sdk 1", "sdk 3"], name=name)
    def hosted(
        request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[HostedMachine]:
        sdk = request.getfixturevalue("aws_sdk_1") if request.param == "sdk 1" else None
        with hosting_machine(tmp_path_factory.mktemp("hosted"), functions, sdk) as machine:
            yield machine

    return hosted
