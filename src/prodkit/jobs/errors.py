"""The errors of jobs. Each names the run and, where there is one, the step."""

from __future__ import annotations

from prodkit.errors import CallTimeoutError, InvalidError, ProdkitError, RejectedError

__all__ = ["JobCancelledError", "JobFailedError", "RunLostError", "StepChangedError", "StepUnknownError"]


class JobFailedError(ProdkitError):
    """The run ended without a result: its attempts are used up, or an error made another attempt pointless.

    Args:
        message: the run, its kind and the last error.
        run_id: the id of the run, as text.
        error: the class name of the last error, which is not available itself: it happened in another process.
    """

    def __init__(self, message: str = "", *, run_id: str = "", error: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id
        self.error = error


class JobCancelledError(JobFailedError):
    """The run was cancelled before it had a result."""


class RunLostError(RejectedError):
    """The write was refused: the run was cancelled, or another worker has taken it."""


class StepChangedError(InvalidError):
    """A recorded step belongs to other code, or to other arguments, than the step that asks for it.

    Args:
        message: what differs, and the ways on.
        step: the name of the step.
    """

    def __init__(self, message: str = "", *, step: str = "") -> None:
        super().__init__(message)
        self.step = step


class StepUnknownError(CallTimeoutError):
    """A step with ``once=True`` was started and its outcome was never recorded: it may have taken effect.

    Args:
        message: the step and the ways on.
        step: the name of the step.
    """

    def __init__(self, message: str = "", *, step: str = "") -> None:
        super().__init__(message)
        self.step = step
