"""API tokens in the API."""

from __future__ import annotations

from annotation.models import ApiToken
from tests.annotation.api.base import ApiTestCase


class TokenTests(ApiTestCase):
    def test_a_user_lists_and_revokes_their_own(self) -> None:
        token, _ = ApiToken.issue(user=self.bob, name="laptop", scope="annotate")
        other, key = ApiToken.issue(user=self.alice, name="cluster", scope="lead")
        listed = self.client.get("/api/v1/tokens/", headers={"Authorization": f"Bearer {key}"})
        assert next((row["name"], row["scope"]) for row in listed.json()) == ("cluster", "lead")
        assert key not in listed.content.decode()
        assert other.digest not in listed.content.decode()
        assert "laptop" not in listed.content.decode()
        self.refused(self.call("DELETE", f"tokens/{token.pk}/", self.alice), 404, "detail")
        assert self.call("DELETE", f"tokens/{other.pk}/", self.alice).status_code == 204
        again = self.client.get("/api/v1/tokens/", headers={"Authorization": f"Bearer {key}"})
        self.refused(again, 401, "detail", "revoked")

    def test_only_the_scope_lead_revokes(self) -> None:
        token, _ = ApiToken.issue(user=self.bob, name="laptop", scope="read")
        for scope in ("read", "annotate"):
            self.refused(
                self.call("DELETE", f"tokens/{token.pk}/", self.bob, scope=scope), 403, "detail", "scope"
            )
        assert self.call("GET", "tokens/", None).status_code == 401
        assert self.call("DELETE", f"tokens/{token.pk}/", None).status_code == 401
        assert ApiToken.objects.filter(pk=token.pk).exists()
