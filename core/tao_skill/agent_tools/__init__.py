"""Tools for agents: few typed functions over the same ground as the command line, whatever protocol calls them."""
