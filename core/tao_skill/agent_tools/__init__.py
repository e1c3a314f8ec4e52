"""Tools for agents: typed functions with the features of the command line, independent of any protocol."""
