"""What the lead's pages take in."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat

from annotation.models import ApiToken, Member, Project, Snapshot


class ProjectForm(forms.ModelForm):
    """A project's settings. What would contradict the items that stand in its queue cannot be changed any more."""

    class Meta:
        model = Project
        fields = ["name", "criterion", "k", "overlap", "lease_minutes"]
        labels = {
            "k": "Answers per prompt",
            "overlap": "Judgments per item",
            "lease_minutes": "Lease (minutes)",
        }
        help_texts = {
            "name": "What people see in their list of projects.",
            "criterion": "What “better” means here. The guidelines say it in full.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and self.instance.items.exists():
            for name in ("k", "overlap"):
                self.fields[name].help_text += " A change is for new items only."


class NewProjectForm(ProjectForm):
    """A new project, with the first version of its guidelines."""

    guideline = forms.CharField(
        label="Guidelines",
        strip=True,
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 14}),
        help_text="What annotators go by, in Markdown. You can change it later: every change is a numbered version.",
        error_messages={
            "required": "Annotators need guidelines: say in a few sentences what makes an answer better."
        },
    )


class GuidelineForm(forms.Form):
    text = forms.CharField(
        label="Guidelines",
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 18}),
        help_text="Markdown.",
        error_messages={"required": "Guidelines cannot be empty."},
    )


class AddMemberForm(forms.Form):
    username = forms.CharField(label="User name", max_length=150)
    role = forms.ChoiceField(choices=Member.Role.choices, initial=Member.Role.ANNOTATOR)


class NewAccountForm(forms.Form):
    username = forms.CharField(label="User name", max_length=150, help_text="Letters, digits and @ . + - _")


class FreezeForm(forms.Form):
    note = forms.CharField(
        required=False,
        max_length=Snapshot._meta.get_field("note").max_length,
        help_text="What it is for; you will thank yourself later.",
    )


class ImportForm(forms.Form):
    file = forms.FileField(
        label="A file of prompts",
        help_text="JSON Lines: one JSON object per line, UTF-8.",
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.ndjson,.json,.txt"}),
        error_messages={"required": "Choose a file first.", "empty": "The file is empty."},
    )

    def clean_file(self) -> UploadedFile:
        file: UploadedFile = self.cleaned_data["file"]
        if (file.size or 0) > settings.MAX_IMPORT_BYTES:
            raise forms.ValidationError(
                f"The file has {filesizeformat(file.size or 0)}; at most {filesizeformat(settings.MAX_IMPORT_BYTES)} are "
                "taken at once. Split it, and import the parts one after the other."
            )
        return file


class TokenForm(forms.Form):
    """A new key to the API. `days` becomes a number; None is for ever."""

    name = forms.CharField(
        max_length=80, help_text="What will use it: “notebook”, “nightly export”, “AI labeler”."
    )
    scope = forms.ChoiceField(
        label="It may", choices=ApiToken.Scope.choices, initial=ApiToken.Scope.READ, widget=forms.RadioSelect
    )
    days = forms.TypedChoiceField(
        label="It expires",
        choices=[
            ("7", "in a week"),
            ("30", "in 30 days"),
            ("90", "in 90 days"),
            ("365", "in a year"),
            ("", "never"),
        ],
        initial="90",
        required=False,
        coerce=int,
        empty_value=None,
    )
