"""What the lead's pages take in."""

from __future__ import annotations

from io import BytesIO
from typing import IO, Any, cast

from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Field

from annotation.actions.imports import too_large_message
from annotation.actions.projects import SETTINGS
from annotation.logic.limits import MAX_TEXT_CHARS
from annotation.models import ApiToken, Invitation, Member, Project, Snapshot, User, Webhook
from annotation.models.webhooks import EVENTS


class PercentField(forms.FloatField):
    """A share from 0 to 1, which people write from 0 to 100."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=100, required=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return f"{100 * value:.4g}" if isinstance(value, float) else value

    def clean(self, value: Any) -> float | None:
        percent = super().clean(value)
        return None if percent is None else percent / 100


class ProjectForm(forms.ModelForm):
    """A project's settings. What would contradict the items that stand in its queue is for new items only. A number that
    is left out gets its default."""

    SHARES = {
        "gold_rate": "Gold items (%)",
        "control_rate": "Control slice (%)",
        "qualification_accuracy": "Right answers needed (%)",
    }

    class Meta:
        model = Project
        fields = SETTINGS
        labels = {
            "task": "What people do",
            "k": "Answers per prompt",
            "asks_quality": "Ask for the quality of every answer, 1 to 7",
            "asks_flags": "Ask for flags",
            "asks_safety": "Ask whether every answer is safe",
            "rationale": "Reasons in words",
            "overlap": "Judgments per item",
            "lease_minutes": "Lease (minutes)",
            "qualification_items": "Items in the qualification",
        }
        help_texts = {
            "name": "What people see in their list of projects.",
            "criterion": "What “better” means here. The guidelines say it in full.",
            "task": "Order two or more answers to a prompt; or write an answer, or make the given one better.",
            "asks_quality": "Beside the order: how good each answer is by itself.",
            "rationale": "Why they judged as they did. It costs time: ask for it where you will read it.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in self.SHARES.items():
            self.fields[name] = PercentField(label=label, help_text=_model_field(name).help_text)
        for name in ("task", "qualification_items", "rationale"):
            self.fields[name].required = False
        if self.instance.pk and self.instance.items.exists():
            for name in ("task", "k", "overlap"):
                self.fields[name].help_text += " A change is for new items only."

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        for name in (*self.SHARES, "task", "qualification_items", "rationale"):
            if name not in self.errors and data.get(name) in (None, ""):
                data[name] = _model_field(name).default
        return data


def _model_field(name: str) -> Field[Any, Any]:
    return cast("Field[Any, Any]", Project._meta.get_field(name))


class NewProjectForm(ProjectForm):
    """A new project, with the first version of its guidelines."""

    guideline = forms.CharField(
        label="Guidelines",
        strip=True,
        max_length=MAX_TEXT_CHARS,
        widget=forms.Textarea(attrs={"rows": 14}),
        help_text="What annotators go by, in Markdown. You can change it later: every change is a numbered version.",
        error_messages={
            "required": "Annotators need guidelines: say in a few sentences what makes an answer better."
        },
    )


class GuidelineForm(forms.Form):
    text = forms.CharField(
        label="Guidelines",
        max_length=MAX_TEXT_CHARS,
        widget=forms.Textarea(attrs={"rows": 18}),
        help_text="Markdown.",
        error_messages={"required": "Guidelines cannot be empty."},
    )


class AddMemberForm(forms.Form):
    username = forms.CharField(label="User name", max_length=150)
    role = forms.ChoiceField(choices=Member.Role.choices, initial=Member.Role.ANNOTATOR)


class NewAccountForm(forms.Form):
    username = forms.CharField(label="User name", max_length=150, help_text="Letters, digits and @ . + - _")
    account = forms.ChoiceField(
        label="It is for",
        choices=User.Account.choices,
        initial=User.Account.PERSON,
        required=False,
        help_text="What a machine says stays apart from what people say.",
    )

    def clean_account(self) -> str:
        return self.cleaned_data["account"] or User.Account.PERSON


class InvitationForm(forms.Form):
    """A link to join by. `days` becomes a number."""

    role = forms.ChoiceField(label="They join as", choices=Member.Role.choices, initial=Member.Role.ANNOTATOR)
    places = forms.IntegerField(
        label="How many people may use it", initial=1, min_value=1, max_value=1000, help_text="1 to 1,000."
    )
    days = forms.TypedChoiceField(
        label="It expires",
        choices=[("1", "tomorrow"), ("7", "in a week"), ("30", "in 30 days"), ("90", "in 90 days")],
        initial="7",
        coerce=int,
    )
    note = forms.CharField(
        label="Who it is for", required=False, max_length=Invitation._meta.get_field("note").max_length
    )


class SignUpForm(forms.Form):
    """An account of one's own, by an invitation."""

    username = forms.CharField(
        label="User name",
        max_length=150,
        validators=[UnicodeUsernameValidator()],
        help_text="What you are called here. Exports never show it.",
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    password = forms.CharField(
        strip=False,
        max_length=4096,
        help_text="At least 8 characters.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if "password" in data:
            try:
                validate_password(data["password"], User(username=data.get("username", "")))
            except forms.ValidationError as error:
                self.add_error("password", error)
        return data


class EraseForm(forms.Form):
    """The password of the one who erases: a signed-in screen that was left alone is not enough."""

    password = forms.CharField(
        label="Your password",
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if not self.user.check_password(password):
            raise forms.ValidationError("That is not your password.")
        return password


class FreezeForm(forms.Form):
    note = forms.CharField(
        required=False,
        max_length=Snapshot._meta.get_field("note").max_length,
        help_text="What it is for; you will thank yourself later.",
    )
    licence = forms.CharField(
        label="Licence", required=False, max_length=100, help_text="For the data card, as in “cc-by-4.0”."
    )


class ImportForm(forms.Form):
    """A file, or a list that was pasted: one prompt a line."""

    file = forms.FileField(
        label="A file of prompts",
        required=False,
        max_length=1000,
        help_text="JSON Lines, a JSON list, CSV or Parquet, in any of the formats below; also compressed with gzip (.gz).",
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.ndjson,.json,.txt,.csv,.tsv,.parquet,.gz"}),
        error_messages={"empty": "The file is empty."},
    )
    text = forms.CharField(
        label="Or paste a list",
        required=False,
        max_length=5_000_000,
        help_text="One prompt a line.",
        widget=forms.Textarea(attrs={"rows": 4}),
    )

    def clean_file(self) -> UploadedFile | None:
        file: UploadedFile | None = self.cleaned_data["file"]
        if file and (file.size or 0) > settings.MAX_UPLOAD_BYTES:
            raise forms.ValidationError(too_large_message(file.size or 0))
        return file

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if not self.errors and not data.get("file") and not data.get("text"):
            self.add_error("file", "Choose a file first, or paste a list.")
        return data

    def name(self) -> str:
        return self.cleaned_data["file"].name if self.cleaned_data["file"] else "Pasted list.txt"

    def content(self) -> IO[bytes]:
        return self.cleaned_data["file"] or BytesIO(self.cleaned_data["text"].encode())


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


class WebhookEventsForm(forms.Form):
    events = forms.MultipleChoiceField(
        label="It is told of",
        choices=EVENTS.items(),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one."},
    )


class WebhookForm(WebhookEventsForm):
    url = forms.CharField(
        label="Address",
        max_length=Webhook._meta.get_field("url").max_length,
        help_text="https://… or http://…, out on the internet.",
        widget=forms.URLInput(attrs={"placeholder": "https://"}),
    )
