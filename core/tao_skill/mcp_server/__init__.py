"""MCP server for the tools, resources and prompts of the skill bank."""
