from __future__ import annotations

import json
from datetime import timedelta
from unittest.mock import patch

from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from annotation.models import ApiToken
from tests.annotation.api.base import ApiTestCase


class TokenTests(ApiTestCase):
    def with_header(self, header: str) -> object:
        return self.client.get("/api/v1/projects/", headers={"Authorization": header})

    def test_bearer_and_token_are_both_understood(self) -> None:
        key = self.key_of(self.bob, "read")
        for header in (f"Bearer {key}", f"bearer {key}", f"Token {key}"):
            assert self.with_header(header).status_code == 200

    def test_a_header_that_is_no_token_is_refused(self) -> None:
        key = self.key_of(self.bob, "read")
        wrong = (
            "Bearer",
            f"Bearer {key} {key}",
            f"Bearer {key}x",
            "Bearer é",
            f"Basic {key}",
            "",
            "Bearer \x7f",
        )
        for header in wrong:
            self.refused(self.with_header(header), 401, "detail")

    def test_a_token_that_has_expired_is_refused(self) -> None:
        token, key = ApiToken.issue(user=self.bob, name="t", expires_at=timezone.now() + timedelta(hours=1))
        assert self.with_header(f"Bearer {key}").status_code == 200
        ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        self.refused(self.with_header(f"Bearer {key}"), 401, "detail", "has expired")

    def test_a_token_that_was_revoked_is_refused(self) -> None:
        token, key = ApiToken.issue(user=self.bob, name="t")
        token.delete()
        self.refused(self.with_header(f"Bearer {key}"), 401, "detail", "is unknown")

    def test_a_token_of_someone_who_left_is_refused(self) -> None:
        key = self.key_of(self.bob, "lead")
        self.bob.is_active = False
        self.bob.save()
        self.refused(self.with_header(f"Bearer {key}"), 401, "detail", "is unknown")

    def test_the_digest_of_a_key_is_no_key(self) -> None:
        token, _ = ApiToken.issue(user=self.bob, name="t")
        self.refused(self.with_header(f"Bearer {token.digest}"), 401, "detail", "is unknown")

    def test_its_use_is_noted_at_most_once_a_minute(self) -> None:
        token, key = ApiToken.issue(user=self.bob, name="t")
        self.with_header(f"Bearer {key}")
        token.refresh_from_db()
        first = token.last_used_at
        assert first is not None
        with self.assertNumQueries(2):  # the token with its user, the projects
            self.with_header(f"Bearer {key}")
        token.refresh_from_db()
        assert token.last_used_at == first
        ApiToken.objects.update(last_used_at=first - timedelta(seconds=61))
        self.with_header(f"Bearer {key}")
        token.refresh_from_db()
        assert token.last_used_at >= first


class SessionTests(ApiTestCase):
    def test_who_is_signed_in_may_read(self) -> None:
        self.sign_in(self.bob)
        assert self.client.get("/api/v1/projects/").status_code == 200

    def test_writing_needs_the_csrf_token(self) -> None:
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(self.bob, backend="annotation.backends.AccountBackend")
        address = f"/api/v1/projects/{self.project.slug}/next/"
        self.refused(browser.post(address, content_type="application/json"), 403, "detail", "CSRF")
        browser.cookies["csrftoken"] = "a" * 32
        sent = browser.post(address, content_type="application/json", headers={"X-CSRFToken": "a" * 32})
        assert sent.status_code == 204

    def test_a_token_needs_no_csrf_token(self) -> None:
        key = self.key_of(self.bob, "lead")
        script = Client(enforce_csrf_checks=True)
        address = f"/api/v1/projects/{self.project.slug}/next/"
        answer = script.post(
            address, content_type="application/json", headers={"Authorization": f"Bearer {key}"}
        )
        assert answer.status_code == 204


class ErrorTests(ApiTestCase):
    def test_an_unknown_address_answers_in_json(self) -> None:
        for method in ("GET", "POST", "DELETE"):
            for path in ("", "nothing/", "projects/a/b/c/", "projects/helpfulness/next"):
                self.refused(self.call(method, path, self.bob), 404, "detail", "nothing at this address")

    def test_a_lost_database_is_said_and_may_be_tried_again(self) -> None:
        with (
            patch("annotation.api.projects.current_user", side_effect=OperationalError("server closed")),
            self.assertLogs("annotation.api.errors", "ERROR"),
        ):
            answer = self.get("projects/", self.bob)
        self.refused(answer, 503, "detail", "Nothing was changed")
        assert answer["Retry-After"] == "5"

    def test_a_body_that_is_no_json_is_refused(self) -> None:
        path = f"projects/{self.project.slug}/skip/"
        for body in (b"{", b"\xff", b"[" * 100_000):
            self.refused(self.post(path, self.bob, body), 400, "detail", "JSON")
        for body in (b"[]", b'"text"', b"3"):
            self.refused(self.post(path, self.bob, body), 400, "body", "Expected a dictionary")

    def test_a_form_is_no_json(self) -> None:
        answer = self.post(f"projects/{self.project.slug}/skip/", self.bob, b"a=b", content_type="text/plain")
        self.refused(answer, 415, "detail", "text/plain")


class SchemaTests(ApiTestCase):
    def test_it_is_open_to_read_and_has_every_operation_described(self) -> None:
        answer = self.client.get("/api/v1/schema/", headers={"Accept": "application/json"})
        schema = json.loads(answer.content)
        assert schema["openapi"].startswith("3.")
        operations = [
            operation | {"path": path}
            for path, methods in schema["paths"].items()
            for operation in methods.values()
        ]
        assert len(operations) > 40
        for operation in operations:
            assert operation.get("summary"), operation["path"]
            assert operation.get("description"), operation["path"]
            assert "token" in str(operation["security"]), operation["path"]
            assert "401" in operation["responses"], operation["path"]

    def test_the_docs_page_is_there(self) -> None:
        assert b"swagger-ui" in self.client.get("/api/v1/docs/").content
