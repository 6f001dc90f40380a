"""The base class of the API's views."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView


class ApiView(APIView):
    """A view that refuses query parameters that the OpenAPI document does not have: a misspelt filter must not return
    everything."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        handler = getattr(self, (request.method or "").lower(), None)
        if request.query_params and handler is not None:
            known = self._query_parameters(handler)
            if unknown := sorted(set(request.query_params) - known):
                names = f"The parameters are {', '.join(sorted(known))}." if known else "There are none here."
                raise ValidationError({name: [f"There is no such parameter. {names}"] for name in unknown})

    def _query_parameters(self, handler: Any) -> set[str]:
        """The names of the query parameters that `extend_schema` declares for a method."""
        declared = getattr(handler, "kwargs", {}).get("schema")
        if declared is None:
            return set()
        schema = declared()
        schema.view, schema.method = self, (self.request.method or "").upper()
        parameters = schema.get_override_parameters()
        return {p.name for p in parameters if isinstance(p, OpenApiParameter) and p.location == "query"}
