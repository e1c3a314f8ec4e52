"""The table of tools, in the order of the workflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tao_skill.agent_tools import catalogue, jobs, reports, run
from tao_skill.agent_tools.tool import Tool

_TOOLS: Final = (
    Tool(
        name="list_models",
        description="Models and their actions.",
        arguments=catalogue.NoArguments,
        answer=catalogue.Models,
        function=catalogue.list_models,
        verb=("models",),
    ),
    Tool(
        name="describe_action",
        description="Data and popular spec keys of an action; full: JSON Schema and spec template.",
        arguments=catalogue.DescribeArguments,
        answer=catalogue.ActionDescription,
        function=catalogue.describe_action,
        verb=("schema",),
    ),
    Tool(
        name="inspect_data",
        description="Check skeleton sequences and labels before training: classes, layout, defects, settings to try.",
        arguments=catalogue.InspectArguments,
        answer=catalogue.Inspection,
        function=catalogue.inspect_data,
        verb=("data", "inspect"),
    ),
    Tool(
        name="plan",
        description="Dry run of run_action: check spec and data, show inferred values and search space.",
        arguments=run.PlanArguments,
        answer=run.PlanAnswer,
        function=run.plan,
        verb=("run",),
    ),
    Tool(
        name="run_action",
        description="Start dataset_convert, train, evaluate, inference, export or gen_trt_engine as a job.",
        arguments=run.RunArguments,
        answer=jobs.JobAnswer,
        function=run.run_action,
        verb=("run",),
        read_only=False,
        idempotent=False,
    ),
    Tool(
        name="job_status",
        description="State, progress, metrics and artifacts of a job.",
        arguments=jobs.JobArguments,
        answer=jobs.JobAnswer,
        function=jobs.job_status,
        verb=("jobs", "show"),
    ),
    Tool(
        name="wait_for_job",
        description="Wait until a job ends; sends progress.",
        arguments=jobs.WaitArguments,
        answer=jobs.JobAnswer,
        function=jobs.wait_for_job,
        verb=("jobs", "wait"),
    ),
    Tool(
        name="job_logs",
        description="Last lines of a job's log.",
        arguments=jobs.LogArguments,
        answer=jobs.Log,
        function=jobs.job_logs,
        verb=("jobs", "logs"),
    ),
    Tool(
        name="cancel_job",
        description="Cancel a job; its checkpoints stay.",
        arguments=jobs.JobArguments,
        answer=jobs.JobAnswer,
        function=jobs.cancel_job,
        verb=("jobs", "cancel"),
        read_only=False,
        destructive=True,
    ),
    Tool(
        name="list_jobs",
        description="Jobs, newest first.",
        arguments=jobs.ListArguments,
        answer=jobs.Jobs,
        function=jobs.list_jobs,
        verb=("jobs", "list"),
    ),
    Tool(
        name="read_report",
        description="Result of a job: winner of a search, metrics by epoch, accuracy and confusions by class, "
        "predictions.",
        arguments=reports.ReportArguments,
        answer=reports.Report,
        function=reports.read_report,
        verb=("automl", "show"),
    ),
)

TOOLS: Final[Mapping[str, Tool]] = {tool.name: tool for tool in _TOOLS}
