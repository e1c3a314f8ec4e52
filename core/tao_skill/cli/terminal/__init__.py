"""Options, output and progress shared by the commands."""
