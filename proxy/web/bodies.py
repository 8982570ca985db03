"""Bodies of requests that the site judges itself, as the API's description shows them.

Such a body is audited as it came, so it is not decoded on the way, and nothing else would tell what belongs into it.
"""

from litestar.openapi.spec import OpenAPIMediaType, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType

NUMBER = Schema(type=OpenAPIType.NUMBER)
MAYBE_NUMBER = Schema(type=[OpenAPIType.NUMBER, OpenAPIType.NULL])
WHOLE = Schema(type=OpenAPIType.INTEGER)
MOMENT = Schema(type=[OpenAPIType.STRING, OpenAPIType.NUMBER], description="RFC 3339 with a zone, or seconds since 1970")


def body(properties: dict[str, Schema], required: list[str] | None = None) -> RequestBody:
    """A JSON object with these properties, of which `required` must be there."""
    schema = Schema(type=OpenAPIType.OBJECT, properties=dict(properties), required=required)
    return RequestBody(content={"application/json": OpenAPIMediaType(schema=schema)}, required=True)
