"""The table of operations in docs/reference/http.md, made from the routes themselves; a test holds the page to it."""

from litestar import Litestar


def reference(app: Litestar) -> str:
    """Markdown: method, path, who may, what it does, and which problems it answers."""
    rows = ["| method and path | roles | what | problems |", "|---|---|---|---|"]
    for path, item in sorted(app.openapi_schema.to_schema()["paths"].items()):
        for method in ("get", "put", "post"):
            if method in item:
                operation = item[method]
                problems = ", ".join(status for status in sorted(operation["responses"]) if status >= "400")
                rows.append(f"| `{method.upper()} {path}` | {_roles(operation)} | {operation['summary']} | {problems} |")
    return "\n".join(rows) + "\n"


def _roles(operation: dict[str, list[dict[str, list[str]]]]) -> str:
    entries = operation.get("security") or []
    if not entries:
        return "open"
    names = ", ".join(sorted({role for entry in entries for roles in entry.values() for role in roles}))
    return f"{names} (open with `api.open_reads`)" if {} in entries else names
