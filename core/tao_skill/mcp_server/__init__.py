"""The tools, resources and prompts of the bank as an MCP server."""
