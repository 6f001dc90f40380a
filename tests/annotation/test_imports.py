from __future__ import annotations

from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import override_settings
from django.urls import reverse

from annotation.models import Item, Prompt
from tests import builders
from tests.leading import AccessTestCase, Endpoint


class ImportTests(AccessTestCase):
    def send(self, content: bytes, **headers: str) -> HttpResponse:
        self.sign_in(self.alice)
        file = SimpleUploadedFile("prompts.jsonl", content)
        return self.client.post(reverse("import", args=[self.project.slug]), {"file": file}, headers=headers)

    def test_it_is_for_leads(self) -> None:
        self.check(Endpoint("import", get=200, post=422))

    def test_it_imports_and_says_what_was_added(self) -> None:
        content = b"\n".join(
            builders.lines(
                {"id": "a", "prompt": "One?", "responses": ["1", "2"]}, {"id": "b", "prompt": "Two?"}
            )
        )
        response = self.send(content)
        report = response.context["report"]
        assert (report.prompts, report.responses, report.items, report.unchanged) == (2, 2, 1, 0)
        self.assertContains(response, "prompts.jsonl is imported")
        self.assertContains(response, "1 prompt has no answers yet.")
        assert self.send(content).context["report"].unchanged == 2
        assert Prompt.objects.count() == 2
        assert Item.objects.count() == 1

    def test_it_names_every_wrong_line_and_imports_nothing(self) -> None:
        content = b'{"prompt": "Good?"}\n{"prompt": ""}\nnonsense\n\xff\xfe\n'
        response = self.send(content)
        assert [line for line, _ in response.context["report"].errors] == [2, 3, 4]
        self.assertContains(response, "prompt: empty", status_code=422)
        self.assertContains(response, "not UTF-8 text", status_code=422)
        self.assertContains(response, "3 lines of prompts.jsonl are wrong", status_code=422)
        assert not Prompt.objects.exists()

    def test_text_of_the_file_is_not_markup(self) -> None:
        response = self.send(b'{"prompt": "x", "<script>alert(1)</script>": 1}\n')
        self.assertContains(response, "&lt;script&gt;", status_code=422)
        self.assertNotContains(response, "<script>alert", status_code=422)

    def test_with_htmx_only_the_page_s_part_comes(self) -> None:
        response = self.send(b"nonsense\n", **{"HX-Request": "true"})
        self.assertContains(response, "Nothing was imported", status_code=422)
        self.assertNotContains(response, "<html", status_code=422)

    @override_settings(MAX_IMPORT_BYTES=10)
    def test_a_file_that_is_too_large_is_refused_with_both_sizes(self) -> None:
        response = self.send(b'{"prompt": "Long enough?"}\n')
        self.assertContains(response, "at most 10\xa0bytes are taken", status_code=422)
        assert not Prompt.objects.exists()

    def test_an_empty_file_and_none_are_refused(self) -> None:
        self.assertContains(self.send(b""), "The file is empty.", status_code=422)
        response = self.client.post(reverse("import", args=[self.project.slug]))
        self.assertContains(response, "Choose a file first.", status_code=422)
