"""Why a request gets no answer, as HTTP says it."""

from __future__ import annotations

from starlette.responses import JSONResponse

from sam3port.errors import Sam3PortError, UsageError


class Refusal(Sam3PortError):
    """A request that is not answered, with HTTP's status for it."""

    def __init__(self, status: int, problem: str, remedy: str = "", retry_after: float | None = None) -> None:
        super().__init__(problem, remedy)
        self.status = status
        self.retry_after = retry_after
        """Seconds after which the same request may be answered."""


def response(error: Sam3PortError) -> JSONResponse:
    """The answer to what raised ``error``: JSON, ``{"error": {"problem": ..., "remedy": ...}}``."""
    status, headers = 422 if isinstance(error, UsageError) else 500, {}
    if isinstance(error, Refusal):
        status = error.status
        if error.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after)))
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
    content = {"error": {"problem": error.problem, "remedy": error.remedy}}
    return JSONResponse(content, status, headers)
