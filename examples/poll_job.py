"""Polling: starts an external job, checks it less and less often, and fetches or cancels it.

    perdure dev examples/poll_job.py
    perdure invoke render_film --payload '{"film": "f-1", "checks_needed": 3}'
    perdure invoke render_film --payload '{"film": "f-2", "checks_needed": 100}' --detach

Between two checks nothing runs. The second film is given up after twelve checks, within an hour.
"""

from typing import Any

from perdure import (
    DurableContext,
    StepContext,
    WaitForConditionError,
    durable_execution,
    durable_step,
)
from perdure.config import Duration
from perdure.types import WaitForConditionCheckContext
from perdure.waits import WaitForConditionConfig, WaitStrategyConfig, create_wait_strategy

Job = dict[str, Any]


def is_running(job: Job) -> bool:
    """Return whether another check is needed."""
    return bool(job["status"] == "running")


# 2 s, 4 s, 8 s … up to 10 minutes, with jitter so that many jobs do not poll at once.
POLLING = create_wait_strategy(
    WaitStrategyConfig[Job](
        should_continue_polling=is_running,
        max_attempts=12,
        initial_delay=Duration.from_seconds(2),
        max_delay=Duration.from_minutes(10),
        backoff_rate=2.0,
    )
)


@durable_step
def start_job(step: StepContext, film: str, checks_needed: int) -> Job:
    """Start the job. Its id comes from the film, so that a retry does not start a second job."""
    step.logger.info("rendering %s", film)
    return {"id": f"job-{film}", "status": "running", "checks_needed": checks_needed}


def check_job(job: Job, check: WaitForConditionCheckContext) -> Job:
    """Return the job's state. A real one asks the service; here the job counts the checks."""
    done = check.attempt >= job["checks_needed"]
    check.logger.info("check %d of %s", check.attempt, job["id"])
    return {**job, "status": "done" if done else "running"}


@durable_step
def cancel_job(step: StepContext, job: Job) -> None:
    """Cancel the job."""
    step.logger.info("cancelling %s", job["id"])


@durable_step
def fetch(_step: StepContext, job: Job) -> str:
    """Fetch the job's result."""
    return f"{job['id']}.mp4"


@durable_execution
def render_film(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Start a job and wait for it, however long it takes within the strategy."""
    job = context.step(start_job(event["film"], event["checks_needed"]))
    polling = WaitForConditionConfig[Job](wait_strategy=POLLING, initial_state=job)
    try:
        done = context.wait_for_condition(check_job, polling, name="rendered")
    except WaitForConditionError as error:
        context.step(cancel_job(job))
        return {"status": "cancelled", "reason": str(error)}
    return {"status": "rendered", "file": context.step(fetch(done))}
