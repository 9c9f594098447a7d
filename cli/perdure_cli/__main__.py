"""`python -m perdure_cli` is `perdure`, run by the interpreter that one chooses."""

from perdure_cli.main import main

main()
