"""Every `code` of an error answer: its status, and when it is given. A test compares it with what is raised."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorCode:
    """`retry` is true where the answer has the header Retry-After."""

    status: int
    when: str
    retry: bool = False


CODES = {
    "invalid_json": ErrorCode(400, "the body is not JSON, or ambiguous: a key that occurs twice, NaN"),
    "invalid_request": ErrorCode(400, "a field is missing, unknown, of another type or out of range: see `errors`"),
    "unsupported_language": ErrorCode(400, "no language has this id or alias"),
    "dangerous_operation": ErrorCode(400, "the source has a construct that can only fail in a jail"),
    "invalid_package": ErrorCode(400, "the package is not a problem package, or asks for what is not supported"),
    "invalid_problem_id": ErrorCode(400, "a problem's id is 1 to 64 of a-z, 0-9, _ and -, a letter or a digit first"),
    "cannot_grade": ErrorCode(400, "the package needs what this deployment has not, or its checker does not compile"),
    "bad_http": ErrorCode(400, "what came is no HTTP request"),
    "token_required": ErrorCode(401, "this deployment uses tokens, and the request has none"),
    "invalid_token": ErrorCode(401, "there is no such token, or it has expired"),
    "insufficient_scope": ErrorCode(403, "the token is not for this"),
    "above_token": ErrorCode(403, "the problem gives a run more memory or time than the token allows"),
    "forbidden": ErrorCode(403, "metrics are told to this host, and to watching tokens; or a foreign page connects"),
    "not_found": ErrorCode(404, "there is no such path"),
    "no_such_problem": ErrorCode(404, "no problem is stored under this id"),
    "method_not_allowed": ErrorCode(405, "the path has no such method; the header Allow lists those that it has"),
    "request_timeout": ErrorCode(408, "the headers or the body did not arrive in time"),
    "code_too_long": ErrorCode(413, "the source is above its limit"),
    "stdin_too_long": ErrorCode(413, "standard input is above its limit"),
    "files_too_long": ErrorCode(413, "the files together are above their limit"),
    "body_too_large": ErrorCode(413, "the body is above its limit"),
    "unsupported_media_type": ErrorCode(415, "the body has another media type, or is compressed"),
    "http_error": ErrorCode(400, "an error of HTTP that has no code of its own"),
    "wrong_host": ErrorCode(421, "Host is not a name of this server, which is asked on loopback"),
    "rate_limited": ErrorCode(429, "this client sent as many requests as it may for now", retry=True),
    "over_share": ErrorCode(429, "this client has its share of what runs and waits, and others wait too", retry=True),
    "too_many_uploads": ErrorCode(429, "this client (token, else address) uploads a package already", retry=True),
    "internal_error": ErrorCode(500, "a defect of cellblock; the log has more under the id that `detail` names"),
    "queue_full": ErrorCode(503, "more come than can run, and none may wait; or bodies take all room", retry=True),
    "too_many_connections": ErrorCode(
        503, "there are as many connections as may be, and each of them is busy", retry=True
    ),
    "sandbox_unavailable": ErrorCode(503, "the sandbox cannot hold its promises right now, so nothing ran", retry=True),
    "parser_unavailable": ErrorCode(503, "a large body was not parsed in time, or what parses it died", retry=True),
    "not_ready": ErrorCode(503, "programs cannot be run now, or the server is being stopped", retry=True),
    "problems_unavailable": ErrorCode(503, "the store of problems cannot be read", retry=True),
    "store_full": ErrorCode(507, "as many problems or bytes are stored as may be"),
}  # fmt: skip
