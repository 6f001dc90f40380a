from __future__ import annotations

import json
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpResponse

from annotation.models import ApiToken, User
from tests.base import PalateTestCase


class ApiTestCase(PalateTestCase):
    """Calls the API as a script does: with a token, and JSON both ways."""

    def call(
        self,
        method: str,
        path: str,
        user: User | None,
        data: Any = None,
        *,
        scope: str = "lead",
        content_type: str = "application/json",
        **headers: str,
    ) -> Any:
        if user is not None:
            headers["Authorization"] = f"Bearer {self.key_of(user, scope)}"
        body = data if isinstance(data, (bytes, str)) else b"" if data is None else json.dumps(data)
        return self.client.generic(
            method, f"/api/v1/{path}", body, content_type=content_type, headers=headers
        )

    def get(self, path: str, user: User | None, **options: Any) -> Any:
        return self.call("GET", path, user, **options)

    def post(self, path: str, user: User | None, data: Any = None, **options: Any) -> Any:
        return self.call("POST", path, user, data, **options)

    def pages(self, path: str, user: User) -> list[list[Any]]:
        """Every page of a list, by the links from one to the next."""
        found = []
        while path:
            page = self.get(path, user).json()
            found.append(page["results"])
            path = (page["next"] or "").removeprefix("http://testserver/api/v1/")
        return found

    def key_of(self, user: User, scope: str) -> str:
        return ApiToken.issue(user=user, name="test", scope=scope)[1]

    def lines(self, response: Any) -> list[dict[str, Any]]:
        assert response.status_code == 200
        return [json.loads(line) for line in self.body_of(response).decode().split("\n") if line]

    def body_of(self, response: Any) -> bytes:
        async def gathered() -> bytes:
            return b"".join([part async for part in response])

        return async_to_sync(gathered)()

    def refused(self, response: HttpResponse, status: int, field: str, sentence: str = "") -> None:
        """The answer is a problem with the status, and the sentence under the field's name."""
        assert response.status_code == status, response.content
        assert response["Content-Type"].startswith("application/problem+json"), response["Content-Type"]
        said = json.loads(response.content)
        assert (said["status"], bool(said["title"]), bool(said["detail"])) == (status, True, True), said
        errors = {"detail": said["detail"]} if field == "detail" else said.get("errors", {})
        assert field in errors, said
        assert sentence in str(errors[field]), said


class EndpointTests:
    """What holds of every endpoint. Subclasses name them: (method, path, roles that may, body)."""

    ENDPOINTS: tuple[tuple[str, str, str, Any], ...] = ()
    call: Any
    refused: Any

    def test_it_wants_to_know_who_calls(self) -> None:
        for method, path, _, body in self.ENDPOINTS:
            answer = self.call(method, path, None, body)
            self.refused(answer, 401, "detail", "credentials were not provided")
            assert answer["WWW-Authenticate"] == "Bearer"

    def test_outsiders_cannot_tell_that_it_is_there(self) -> None:
        for method, path, _, body in self.ENDPOINTS:
            self.refused(self.call(method, path, self.charlie, body), 404, "detail", "No such")  # type: ignore[attr-defined]

    def test_the_wrong_role_is_told_so(self) -> None:
        for method, path, roles, body in self.ENDPOINTS:
            for role, user in (("reviewer", self.dana), ("annotator", self.bob)):  # type: ignore[attr-defined]
                if role not in roles:
                    self.refused(self.call(method, path, user, body), 403, "detail", "needs the role")

    def test_a_token_that_may_only_read_changes_nothing(self) -> None:
        for method, path, _, body in self.ENDPOINTS:
            if method != "GET":
                answer = self.call(method, path, self.alice, body, scope="read")  # type: ignore[attr-defined]
                self.refused(answer, 403, "detail", "may only read")

    def test_the_right_people_get_through(self) -> None:
        for method, path, roles, body in self.ENDPOINTS:
            for role, user in (("lead", self.alice), ("reviewer", self.dana), ("annotator", self.bob)):  # type: ignore[attr-defined]
                if role in roles:
                    answer = self.call(method, path, user, body)
                    assert answer.status_code not in (401, 403, 404, 405, 500), (method, path, role)

    def test_another_method_is_refused(self) -> None:
        known: dict[str, set[str]] = {}
        for method, path, _, _ in self.ENDPOINTS:
            known.setdefault(path, set()).add(method)
        for path, methods in known.items():
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
                self.refused(self.call(method, path, self.alice), 405, "detail", "not allowed")  # type: ignore[attr-defined]
