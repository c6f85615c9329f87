"""The form of the API's answers, errors included: https://docs.getdbt.com/dbt-cloud/api-v2."""

from collections.abc import Mapping

from starlette.responses import HTMLResponse, JSONResponse, Response

INVALID = "The request was invalid. Please double check the provided data and try again."
_MESSAGES = {
    401: "Invalid token.",
    403: "You do not have permission to perform this action.",
    404: "The requested resource was not found",
}
_PAGES = {
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}


def envelope(data: object, code: int = 200, message: str = "Success!", **more: object) -> JSONResponse:
    """Return an answer in the form that all of the API's answers have."""
    status = {"code": code, "is_success": code < 400, "user_message": message, "developer_message": ""}
    return JSONResponse({"status": status, "data": data, **more}, status_code=code)


def invalid(data: object) -> Response:
    """Return the answer to a request that makes no sense; `data` says which part of it."""
    return envelope(data, 400, INVALID)


def unknown_parameter(*names: str) -> str:
    """Return what a 400 says about names that the API does not know."""
    verb = "was" if len(names) == 1 else "were"
    return f"Additional properties are not allowed ({', '.join(map(repr, names))} {verb} unexpected)"


def failed(code: int, headers: Mapping[str, str] | None = None, method: str = "") -> Response:
    """Return an answer with an error status as dbt Cloud, or the proxy before it, would give it.

    Only some have the envelope: 405 and 429 are told by the framework, 5xx by a proxy, which answers in HTML.
    """
    answer: Response
    if code == 405:
        answer = JSONResponse({"detail": f'Method "{method}" not allowed.'}, code)
    elif code == 429:
        answer = JSONResponse({"detail": "Request was throttled."}, code)
    elif code >= 500:
        title = f"{code} {_PAGES.get(code, 'Error')}"
        answer = HTMLResponse(
            f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>", code
        )
    else:
        answer = envelope(None, code, _MESSAGES.get(code, "Error"))
    answer.headers.update(headers or {})
    return answer
