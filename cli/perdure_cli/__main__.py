"""`python -m perdure_cli`: the `perdure` command, run by a chosen interpreter."""

from perdure_cli.main import main

main()
