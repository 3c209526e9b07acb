"""One tree of errors, and one table from error to OpenAI's status and body.

LlmosError
├── BadRequest                400  the caller can mend the request
│   ├── UnknownField               a field that is on no allow-list
│   ├── UnsupportedContent         a part (image, audio, file, token ids) that can't be scrubbed
│   ├── TooLarge              413  a limit on size, count or depth
│   ├── UnknownModel          404  a model name that the gateway does not serve
│   ├── InvalidPolicy         422  a policy document that does not load, or may not be applied
│   ├── NotFound              404  an administered thing that is not there
│   └── EditConflict          412  somebody else changed it first (If-Match does not hold)
├── Unauthenticated           401  no key, or a wrong one
├── Forbidden                 403  a key that may not do this
│   └── PolicyRefusal              the policy refuses this request
├── LimitExceeded             429
│   ├── RateLimited                requests, tokens or streams
│   │   └── TooManyAttempts            failed sign-ins from one address
│   └── BudgetExceeded             the privacy budget of the window is spent
└── Unavailable               503
    ├── DetectorFailed             detection failed or timed out; nothing was sent upstream
    ├── StoreUnavailable           vault, ledger, policies or audit can't be reached; nothing was sent upstream
    ├── UpstreamFailed        502  the model server failed, or broke its answer off
    └── UpstreamTimeout       504

A message says what was wrong and how to mend it, and never quotes the text of a request or an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class LlmosError(Exception):
    """The root. `param` names the field of the request, `retry_after_s` fills Retry-After, `headers` join the answer's."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"
    should_retry: ClassVar[bool | None] = None  # None: the client decides by the status

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The error object of OpenAI's API."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class BadRequest(LlmosError):
    status, type, code = 400, "invalid_request_error", "bad_request"


class UnknownField(BadRequest):
    code = "unknown_field"


class UnsupportedContent(BadRequest):
    code = "unsupported_content"


class TooLarge(BadRequest):
    status, code = 413, "request_too_large"


class UnknownModel(BadRequest):
    status, code = 404, "model_not_found"


class InvalidPolicy(BadRequest):
    status, code = 422, "invalid_policy"


class NotFound(BadRequest):
    status, code = 404, "not_found"


class EditConflict(BadRequest):
    status, code = 412, "edit_conflict"


class Unauthenticated(LlmosError):
    status, type, code = 401, "authentication_error", "invalid_api_key"


class Forbidden(LlmosError):
    status, type, code = 403, "permission_error", "forbidden"
    should_retry = False


class PolicyRefusal(Forbidden):
    code = "policy_refusal"


class LimitExceeded(LlmosError):
    status, type, code = 429, "rate_limit_error", "limit_exceeded"


class RateLimited(LimitExceeded):
    code = "rate_limit_exceeded"


class TooManyAttempts(RateLimited):
    """The `count`-th failed sign-in from one address within a minute."""

    code = "too_many_attempts"

    def __init__(self, message: str, *, count: int, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.count = count

    @property
    def deserves_a_record(self) -> bool:
        """Each doubling does: then guessing shows in the audit with its number, and can't fill the store."""
        return self.count & (self.count - 1) == 0


class BudgetExceeded(LimitExceeded):
    code = "privacy_budget_exceeded"
    should_retry = False


class Unavailable(LlmosError):
    status, type, code = 503, "service_unavailable", "unavailable"


class DetectorFailed(Unavailable):
    code = "detector_failed"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class UpstreamFailed(Unavailable):
    status, type, code = 502, "upstream_error", "upstream_failed"


class UpstreamTimeout(Unavailable):
    status, type, code = 504, "upstream_error", "upstream_timeout"
