"""`python -m tao_skill`."""

from tao_skill.cli import main

main()
