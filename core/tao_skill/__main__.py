"""The program `tao-skill`, as `python -m tao_skill`."""

from tao_skill.cli import main

if __name__ == "__main__":
    main()
