"""python -m prunelle"""

from prunelle.cli.main import main

main()
