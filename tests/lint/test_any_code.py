"""The check on any code: it never fails, and is fast.

The standard library lends its code: every function in it is made a handler.
"""

import ast
import sysconfig
import time
from pathlib import Path

import pytest

from perdure.lint import check_source

LIBRARY = Path(sysconfig.get_path("stdlib"))
FILES = sorted(LIBRARY.glob("*.py"))[::4]
FILE_S_MAX = 10.0


@pytest.mark.parametrize("decorator", ["durable_execution", "durable_step"])
def test_every_file_of_the_standard_library_can_be_checked(decorator: str) -> None:
    for file in FILES:
        tree = ast.parse(file.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                node.decorator_list.append(ast.Name(f"perdure.{decorator}"))
        began_s = time.process_time()
        check_source(f"import perdure\n{ast.unparse(tree)}", file.name)
        assert time.process_time() - began_s < FILE_S_MAX, file
