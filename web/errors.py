"""Errors as OpenAI's clients expect them: a status, and an object with message, type, parameter and code."""

from __future__ import annotations

import msgspec

from api.base import Failure
from api.errors import BUSY
from api.node_results import NotFoundResult

_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    405: "invalid_request_error", 408: "timeout_error", 409: "conflict_error", 413: "invalid_request_error",
    422: "invalid_request_error", 429: "rate_limit_error", 431: "invalid_request_error", 502: "server_error",
    503: "server_error", 504: "timeout_error",
}


class ErrorDetails(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    error: ErrorDetails


class ApiError(Exception):
    """A request that is answered with an error. `retry` tells clients whether to try again by themselves."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None,
        retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry = retry
        self.body = ErrorBody(ErrorDetails(message, _TYPES.get(status, "server_error"), param, code))

    @property
    def headers(self) -> dict[str, str]:
        headers = {} if self.retry is None else {"x-should-retry": "true" if self.retry else "false"}
        if self.status in (429, 503):
            headers["Retry-After"] = "1"
        return headers


def status_of(failure: Failure) -> int:
    """The HTTP status of a command's failure."""
    if failure.kind == "usage":
        return 400
    if isinstance(failure, NotFoundResult):
        return 503 if failure.stale else 404
    return 503 if failure.error.startswith(BUSY) else 409


def failed(failure: Failure) -> ApiError:
    """A command's failure, where the caller expects OpenAI's shape."""
    status = status_of(failure)
    return ApiError(status, failure.error, code="busy" if status == 503 else None)
