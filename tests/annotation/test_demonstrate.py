from __future__ import annotations

from annotation.actions.queue import ItemSpec, enqueue
from annotation.models import Author, Draft, Judgment, Member, Prompt, Response
from tests import builders
from tests.annotation.judging import JudgingTestCase


class DemonstrateTests(JudgingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.judged = builders.project(self.alice, "Letters", task="demonstrations")
        builders.join(self.judged, self.bob, Member.Role.ANNOTATOR)

    def ask(self, given: str | None = None) -> Prompt:
        """A prompt to be answered, or a given answer to be made better."""
        prompt = Prompt.objects.create(
            project=self.judged,
            external_id=f"p{Prompt.objects.count()}",
            messages=[{"role": "user", "content": "Write a note."}],
            split="train",
        )
        responses = []
        if given is not None:
            author = Author.objects.create(project=self.judged, kind="imported", name="somebody")
            made = Response.objects.create(prompt=prompt, author=author, text=given, digest="0" * 64)
            responses = [made.pk]
        enqueue(project=self.judged, specs=[ItemSpec(prompt.pk, responses)])
        return prompt

    def test_home_names_the_work(self) -> None:
        self.ask()
        response = self.client.get("/")
        self.assertContains(response, "Write an answer")
        self.assertContains(response, "Start writing")

    def test_it_shows_an_empty_editor(self) -> None:
        self.ask()
        response = self.client.get(self.url())
        self.assertContains(response, "Write the ideal answer")
        assert (response.context["kind"], response.context["text"]) == ("write", "")

    def test_what_is_written_becomes_an_answer_of_theirs(self) -> None:
        prompt = self.ask()
        self.ask()
        response = self.send(self.form(self.open(), text="Dear **Noor**,\n\nthank you."))
        assert response.status_code == 200
        judgment = Judgment.objects.get()
        written = judgment.demonstration
        assert written is not None
        assert written.text == "Dear **Noor**,\n\nthank you."
        assert written.author.user == self.bob
        assert written.prompt_id in (prompt.pk, prompt.pk + 1)
        assert response.context["lease"].item_id != judgment.item_id

    def test_an_answer_to_be_made_better_stands_in_the_editor(self) -> None:
        self.ask("Dear *colleague*,")
        response = self.client.get(self.url())
        self.assertContains(response, "Improve this answer")
        assert (response.context["kind"], response.context["text"]) == ("improve", "Dear *colleague*,")
        self.assertContains(response, "<em>colleague</em>")

    def test_a_better_answer_is_kept_beside_the_given_one(self) -> None:
        self.ask("Dear colleague,")
        self.send(self.form(self.open(), text="Dear Noor,"))
        assert Judgment.objects.get().demonstration.text == "Dear Noor,"
        assert set(Response.objects.values_list("text", flat=True)) == {"Dear colleague,", "Dear Noor,"}

    def test_an_empty_answer_is_refused_with_a_sentence(self) -> None:
        self.ask()
        for text in ("", "  \n "):
            self.assertContains(
                self.send(self.form(self.open(), text=text)), "Write the answer.", status_code=422
            )
        assert not Judgment.objects.exists()

    def test_a_refused_answer_is_not_lost(self) -> None:
        self.ask()
        response = self.send(self.form(self.open(), text="x" * 100_001))
        self.assertContains(response, "at most 100,000 characters", status_code=422)
        assert len(response.context["text"]) == 100_001

    def test_a_draft_comes_back_with_its_preview(self) -> None:
        self.ask("Dear colleague,")
        assert self.send(self.form(self.open(), text="Dear **Noor**,"), "work-draft").status_code == 204
        response = self.client.get(self.url())
        assert response.context["text"] == "Dear **Noor**,"
        self.assertContains(response, "<strong>Noor</strong>")

    def test_an_emptied_editor_is_a_draft_too(self) -> None:
        self.ask("Dear colleague,")
        self.send(self.form(self.open(), text=""), "work-draft")
        assert Draft.objects.get().data == {}
        assert self.open()["text"] in ("", "Dear colleague,")


class PreviewTests(JudgingTestCase):
    def test_it_is_the_text_as_others_will_see_it(self) -> None:
        response = self.send({"text": "a **b** <script>x</script>"}, "work-preview")
        self.assertContains(response, "<p>a <strong>b</strong> &lt;script&gt;x&lt;/script&gt;</p>")
        self.assertNotContains(response, "<html")

    def test_an_empty_text_says_so(self) -> None:
        self.assertContains(self.send({}, "work-preview"), "Nothing written yet.")

    def test_it_is_for_members_and_by_post_only(self) -> None:
        assert self.client.get(self.url("work-preview")).status_code == 405
        self.sign_in(self.charlie)
        assert self.client.post(self.url("work-preview")).status_code == 404
