"""Invitations in the API."""

from __future__ import annotations

from annotation.models import Member
from tests.annotation.api.base import ApiTestCase


class InvitationTests(ApiTestCase):
    def setUp(self) -> None:
        self.here = f"projects/{self.project.slug}/invitations/"

    def test_its_link_lets_people_in_until_it_is_revoked(self) -> None:
        made = self.post(self.here, self.alice, {"places": 2, "note": "Spring course"})
        said = made.json()
        assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
        assert said["link"].startswith("http://testserver/join/")
        self.client.post(said["link"], {"username": "frank", "password": "so-long-a-password"})
        assert Member.objects.get(user__username="frank").role == "annotator"
        (line,) = self.get(self.here, self.alice).json()
        assert (line["used"], line["places"], line["note"], "link" in line) == (1, 2, "Spring course", False)
        assert self.call("DELETE", f"{self.here}{said['id']}/", self.alice).status_code == 204
        assert self.get(self.here, self.alice).json()[0]["revoked_at"]
        self.client.logout()
        assert self.client.get(said["link"]).status_code == 410

    def test_what_is_no_invitation_is_refused_by_field(self) -> None:
        for body, field in (({"places": 0}, "places"), ({"days": 91}, "days"), ({"role": "king"}, "role")):
            self.refused(self.post(self.here, self.alice, body), 400, field)
