"""`python -m edgec.cli`."""

from edgec.cli.main import main

main()
