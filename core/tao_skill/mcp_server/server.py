"""The server: what the official SDK needs, fed from the tables of tao_skill.agent_tools."""

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
    "Trains skeleton-action classifiers. Usual way: inspect_data, plan, run_action train (a search unless automl=off), "
    "wait_for_job, read_report, then run_action evaluate, export or inference with parent. Every answer has `next`, "
    "calls ready to make; every error a `fix`. Relative paths start at the first root."
)
RESOURCE_NOT_FOUND: Final = -32002
CALLS_AT_ONCE: Final = 64
_log: Final = logging.getLogger(__name__)


def make_server(here: ToolContext) -> Server[Any]:
    """The server over a workplace, for any transport."""
    lanes = anyio.CapacityLimiter(CALLS_AT_ONCE)

    async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool.model_validate(one) for one in definitions("mcp")])

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        told = replace(here, listener=_Progress(ctx))
        answered = await to_thread.run_sync(partial(_answer, params.name, params.arguments or {}, told), limiter=lanes)
        return types.CallToolResult(
            content=[types.TextContent(text=answered.text)],
            structured_content=json.loads(answered.text),
            is_error=answered.is_error,
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
    """Sends what a waiting tool tells to the client of its call, and ends the wait of a call that was canceled."""

    def __init__(self, ctx: Any) -> None:
        self.ctx = ctx
        self.told: tuple[float, str] = (-1.0, "")

    def __call__(self, done: float, text: str) -> None:
        """Called from the thread of a tool."""
        from_thread.check_cancelled()
        done = max(done, self.told[0])  # a client may rely on its growing
        if (done, text) != self.told:
            self.told = (done, text)
            from_thread.run(self.ctx.session.report_progress, done, 1.0, text)


def _answer(name: str, arguments: dict[str, Any], here: ToolContext) -> Reply:
    """The reply to a call; a defect of ours is logged and answered like any error."""
    try:
        return reply(name, arguments, here)
    except Exception as error:
        _log.exception("tool %s failed", name)
        shown = {
            "code": "internal",
            "message": f"{name} failed: {type(error).__name__}",
            "fix": "change the arguments, or report the traceback in the server's output",
        }
        return Reply(document={"error": shown}, is_error=True)


async def _list_resources(ctx: Any, params: Any) -> types.ListResourcesResult:
    shown = [
        types.Resource(
            name=one.uri.removeprefix("skill://"),
            uri=one.uri,
            mime_type=one.mime_type,
            size=one.size,
            _meta={"sha256": one.sha256},
        )
        for one in resources.resources()
    ]
    return types.ListResourcesResult(resources=shown)


async def _read_resource(ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    try:
        found = resources.read(str(params.uri))
    except TaoSkillError as error:
        raise MCPError(code=RESOURCE_NOT_FOUND, message=error.message, data=error.as_dict()) from error
    contents = types.TextResourceContents(
        uri=found.uri, mime_type=found.mime_type, text=found.text, _meta={"sha256": found.sha256}
    )
    return types.ReadResourceResult(contents=[contents])


async def _list_prompts(ctx: Any, params: Any) -> types.ListPromptsResult:
    shown = [
        types.Prompt(
            name=one.name,
            description=one.description,
            arguments=[
                types.PromptArgument(name=name, description=text, required=True) for name, text in one.arguments.items()
            ],
        )
        for one in prompts.PROMPTS.values()
    ]
    return types.ListPromptsResult(prompts=shown)


async def _get_prompt(ctx: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    try:
        text = prompts.fill(params.name, params.arguments or {})
    except TaoSkillError as error:
        raise MCPError(code=types.INVALID_PARAMS, message=error.message, data=error.as_dict()) from error
    message = types.PromptMessage(role="user", content=types.TextContent(text=text))
    return types.GetPromptResult(messages=[message])


def serve_stdio(here: ToolContext) -> None:
    """Serve one client on standard input and output, until it hangs up."""
    from mcp.server.stdio import stdio_server

    async def serve() -> None:
        server = make_server(here)
        async with stdio_server() as (receive, send):
            await server.run(receive, send, server.create_initialization_options())

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    anyio.run(serve)
