from __future__ import annotations

from django.contrib import admin
from django.urls import reverse

from annotation.models import Judgment
from tests import builders
from tests.access_cases import policy, snapshot
from tests.base import PalateTestCase
from training.runs.actions import start_run


class AdminTests(PalateTestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.root = builders.user("root", is_staff=True, is_superuser=True)
        policy(cls.project)
        frozen = snapshot(cls.project, cls.alice, cls.bob)
        start_run(project=cls.project, kind="reward", creator=cls.alice, snapshot=frozen)

    def test_every_list_and_every_row_opens(self) -> None:
        self.sign_in(self.root)
        for model in admin.site._registry:
            if model._meta.app_label not in ("annotation", "training"):
                continue
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            with self.subTest(name):
                assert self.client.get(reverse(f"{name}_changelist")).status_code == 200
                row = model._default_manager.first()
                if row is not None:
                    assert self.client.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200

    def test_what_people_said_cannot_be_changed_there(self) -> None:
        self.sign_in(self.root)
        judgment = Judgment.objects.first()
        assert judgment is not None
        url = reverse("admin:annotation_judgment_change", args=[judgment.pk])
        assert self.client.post(url, {"degree": "better"}).status_code == 403
        delete = reverse("admin:annotation_judgment_delete", args=[judgment.pk])
        assert self.client.post(delete, {"post": "yes"}).status_code == 403
        assert self.client.get(reverse("admin:annotation_judgment_add")).status_code == 403

    def test_staff_without_permissions_see_nothing_there(self) -> None:
        self.sign_in(self.alice)
        assert self.client.get(reverse("admin:annotation_judgment_changelist")).status_code == 403
        self.sign_in(self.bob)
        assert self.client.get(reverse("admin:annotation_judgment_changelist")).status_code == 302
