"""The MCP server: handlers of the official SDK for the tools, resources and prompts of `agent_tools`."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from functools import partial
from typing import Any, Final

import anyio
import mcp_types as types
from anyio import from_thread, to_thread
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from tao_skill import __version__
from tao_skill.agent_tools import prompts, resources
from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.dispatch import Reply, reply
from tao_skill.agent_tools.formats import definitions
from tao_skill.errors import TaoSkillError

INSTRUCTIONS: Final = (
    "Trains skeleton-action classifiers. Workflow: inspect_data, plan, run_action train (a search unless automl=off), "
    "wait_for_job, read_report, then run_action evaluate, export or inference with parent. Every answer has `next`, "
    "suggested calls; every error has a `fix`. Relative paths start at the first root."
)
RESOURCE_NOT_FOUND: Final = -32002
MAX_CONCURRENT_CALLS: Final = 64
_log: Final = logging.getLogger(__name__)


def make_server(context: ToolContext) -> Server[Any]:
    """Build the server, for any transport."""
    limiter = anyio.CapacityLimiter(MAX_CONCURRENT_CALLS)

    async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool.model_validate(tool) for tool in definitions("mcp")])

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        call = partial(_call, params.name, params.arguments or {}, replace(context, listener=_Progress(ctx)))
        answer = await to_thread.run_sync(call, limiter=limiter)
        return types.CallToolResult(
            content=[types.TextContent(text=answer.text)],
            structured_content=json.loads(answer.text),
            is_error=answer.is_error,
        )

    return Server(
        "tao-skill",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=_list_resources,
        on_read_resource=_read_resource,
        on_list_prompts=_list_prompts,
        on_get_prompt=_get_prompt,
    )


class _Progress:
    """Listener that sends progress to the client of a call, and stops the wait of a canceled call."""

    def __init__(self, ctx: Any) -> None:
        self.ctx = ctx
        self.last: tuple[float, str] = (-1.0, "")

    def __call__(self, done: float, text: str) -> None:
        """Send progress; called from the thread of a tool."""
        from_thread.check_cancelled()
        done = max(done, self.last[0])  # MCP: progress must not decrease
        if (done, text) != self.last:
            self.last = (done, text)
            from_thread.run(self.ctx.session.report_progress, done, 1.0, text)


def _call(name: str, arguments: dict[str, Any], context: ToolContext) -> Reply:
    """Call a tool; an unexpected exception is logged and answered as an error with code `internal`."""
    try:
        return reply(name, arguments, context)
    except Exception as error:
        _log.exception("tool %s failed", name)
        document = {
            "code": "internal",
            "message": f"{name} failed: {type(error).__name__}",
            "fix": "change the arguments, or report the traceback in the server's output",
        }
        return Reply(document={"error": document}, is_error=True)


async def _list_resources(ctx: Any, params: Any) -> types.ListResourcesResult:
    listed = [
        types.Resource(
            name=resource.uri.removeprefix("skill://"),
            uri=resource.uri,
            mime_type=resource.mime_type,
            size=resource.size,
            _meta={"sha256": resource.sha256},
        )
        for resource in resources.resources()
    ]
    return types.ListResourcesResult(resources=listed)


async def _read_resource(ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    try:
        resource = resources.read(str(params.uri))
    except TaoSkillError as error:
        raise MCPError(code=RESOURCE_NOT_FOUND, message=error.message, data=error.as_dict()) from error
    contents = types.TextResourceContents(
        uri=resource.uri, mime_type=resource.mime_type, text=resource.text, _meta={"sha256": resource.sha256}
    )
    return types.ReadResourceResult(contents=[contents])


async def _list_prompts(ctx: Any, params: Any) -> types.ListPromptsResult:
    listed = [
        types.Prompt(
            name=prompt.name,
            description=prompt.description,
            arguments=[
                types.PromptArgument(name=name, description=text, required=True)
                for name, text in prompt.arguments.items()
            ],
        )
        for prompt in prompts.PROMPTS.values()
    ]
    return types.ListPromptsResult(prompts=listed)


async def _get_prompt(ctx: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    try:
        text = prompts.fill(params.name, params.arguments or {})
    except TaoSkillError as error:
        raise MCPError(code=types.INVALID_PARAMS, message=error.message, data=error.as_dict()) from error
    message = types.PromptMessage(role="user", content=types.TextContent(text=text))
    return types.GetPromptResult(messages=[message])


def serve_stdio(context: ToolContext) -> None:
    """Serve a client on standard input and output until it disconnects."""
    from mcp.server.stdio import stdio_server

    async def serve() -> None:
        server = make_server(context)
        async with stdio_server() as (receive, send):
            await server.run(receive, send, server.create_initialization_options())

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    anyio.run(serve)
