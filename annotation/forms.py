"""Forms of the annotation pages."""

from __future__ import annotations

from io import BytesIO
from typing import IO, Any, cast

from allauth.account.adapter import get_adapter
from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Field

from annotation.actions.projects import SETTINGS
from annotation.actions.uploads import too_large_message
from annotation.imports.pasted_text import blocks_as_json_lines, has_blocks
from annotation.logic import judging_keys
from annotation.logic.limits import MAX_BATCH_ITEMS, MAX_TEXT_CHARS
from annotation.logic.questions import (
    KIND_LABELS,
    MAX_MIN_CHARS,
    MAX_QUESTIONS,
    MAX_SCALE,
    MIN_SCALE,
    Question,
    QuestionError,
    read_questions,
)
from annotation.logic.time_zones import zone_named, zone_names
from annotation.models import ApiToken, Import, Invitation, Member, Project, Snapshot, User, Webhook
from annotation.models.webhooks import EVENTS


class PercentField(forms.FloatField):
    """A share from 0 to 1, entered as a percentage from 0 to 100."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=100, required=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return f"{100 * value:.4g}" if isinstance(value, float) else value

    def clean(self, value: Any) -> float | None:
        percent = super().clean(value)
        return None if percent is None else percent / 100


class ProjectForm(forms.ModelForm):
    """Project settings. Changes that would contradict queued items apply to new items only. Empty numbers get their
    defaults."""

    SHARES = {
        "gold_rate": "Gold items (%)",
        "control_rate": "Random sample (%)",
        "qualification_accuracy": "Required accuracy (%)",
    }

    OPTIONAL = ("task", "qualification_items", "rationale", "images")

    class Meta:
        model = Project
        fields = SETTINGS
        labels = {
            "task": "Task",
            "k": "Answers per prompt",
            "asks_quality": "Quality rating of each answer, 1 to 7",
            "asks_flags": "Flags",
            "asks_safety": "Safety rating of each answer",
            "rationale": "Written reasons",
            "images": "Pictures in texts",
            "overlap": "Judgments per item",
            "lease_minutes": "Idle time limit (minutes)",
            "qualification_items": "Qualification items",
        }
        help_texts = {
            "name": "Shown in lists of projects.",
            "lease_minutes": "Time before an idle item is given to someone else.",
            "criterion": "What “better” means. The guidelines give the details.",
            "task": "Rank or compare answers to a prompt; or write an answer, or improve one.",
            "asks_quality": "In addition to the ranking.",
            "rationale": "Why annotators judged as they did. It takes them time: ask only if you will read it.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in self.SHARES.items():
            self.fields[name] = PercentField(label=label, help_text=_model_field(name).help_text)
        for name in self.OPTIONAL:
            self.fields[name].required = False
        if self.instance.pk and self.instance.items.exists():
            for name in ("task", "k", "overlap"):
                self.fields[name].help_text += " Changes apply to new items only."

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        for name in (*self.SHARES, *self.OPTIONAL):
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
        help_text="Instructions for annotators, in Markdown. Later changes create numbered versions.",
        error_messages={
            "required": "Annotators need guidelines: say in a few sentences what makes an answer better."
        },
    )


class QuestionForm(forms.Form):
    """One of a project's own questions; `logic.questions` checks what is entered."""

    key = forms.CharField(required=False, widget=forms.HiddenInput)
    kind = forms.ChoiceField(
        label="Kind", choices=[(kind.value, label) for kind, label in KIND_LABELS.items()]
    )
    label = forms.CharField(label="Label", required=False)
    help = forms.CharField(label="Explanation", required=False)
    required = forms.BooleanField(label="Required", required=False, initial=True)
    scale = forms.IntegerField(
        label="Highest rating",
        required=False,
        initial=5,
        widget=forms.NumberInput(attrs={"min": MIN_SCALE, "max": MAX_SCALE}),
    )
    low = forms.CharField(label="1 means", required=False)
    high = forms.CharField(label="The highest means", required=False)
    min_chars = forms.IntegerField(
        label="Least characters",
        required=False,
        initial=0,
        widget=forms.NumberInput(attrs={"min": 0, "max": MAX_MIN_CHARS}),
    )

    def as_data(self) -> dict[str, Any]:
        """The fields of a `Question` that are not empty."""
        names = [name for name in self.fields if name not in ("DELETE", "ORDER")]
        return {
            name: self.cleaned_data[name] for name in names if self.cleaned_data.get(name) not in (None, "")
        }


class BaseQuestionFormSet(forms.BaseFormSet[QuestionForm]):
    """A project's own questions, in order. Rows without a label that are new, and those to be removed, are left out."""

    questions: list[Question]

    def clean(self) -> None:
        rows = [
            form
            for form in self.forms
            if form.is_valid()
            and not form.cleaned_data.get("DELETE")
            and (form.cleaned_data.get("label") or form.cleaned_data.get("key"))
        ]
        try:
            self.questions = read_questions([form.as_data() for form in rows])
        except QuestionError as error:
            if error.number is None or error.field not in QuestionForm.base_fields:
                raise forms.ValidationError(str(error)) from None
            rows[error.number].add_error(error.field, str(error))
            raise forms.ValidationError(
                "Nothing was saved. Correct the marked field and submit again."
            ) from None


QuestionFormSet = forms.formset_factory(
    QuestionForm,
    formset=BaseQuestionFormSet,
    extra=1,
    can_delete=True,
    max_num=MAX_QUESTIONS,
    absolute_max=2 * MAX_QUESTIONS,
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
        label="Type",
        choices=User.Account.choices,
        initial=User.Account.PERSON,
        required=False,
        help_text="Judgments of machines are kept apart from those of people.",
    )

    def clean_account(self) -> str:
        return self.cleaned_data["account"] or User.Account.PERSON


class InvitationForm(forms.Form):
    """An invitation link. `days` is cleaned to a number."""

    role = forms.ChoiceField(label="Role", choices=Member.Role.choices, initial=Member.Role.ANNOTATOR)
    places = forms.IntegerField(
        label="Number of people", initial=1, min_value=1, max_value=1000, help_text="1 to 1,000."
    )
    days = forms.TypedChoiceField(
        label="Expires",
        choices=[("1", "tomorrow"), ("7", "in a week"), ("30", "in 30 days"), ("90", "in 90 days")],
        initial="7",
        coerce=int,
    )
    note = forms.CharField(
        label="Who it is for", required=False, max_length=Invitation._meta.get_field("note").max_length
    )


class SignUpForm(forms.Form):
    """A new account, created with an invitation."""

    username = forms.CharField(
        label="User name",
        max_length=150,
        validators=[UnicodeUsernameValidator()],
        help_text="Never shown in exports.",
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
    """Asks for the password again, in case somebody else uses an unattended session; whoever has none, for their user name."""

    password = forms.CharField(
        label="Your password",
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        if not user.has_usable_password():
            self.fields["password"] = forms.CharField(label="Your user name", max_length=150)

    def clean_password(self) -> str:
        entered: str = self.cleaned_data["password"]
        if not self.user.has_usable_password():
            if entered != self.user.username:
                raise forms.ValidationError("That is not your user name.")
        elif not get_adapter().reauthenticate(self.user, entered):  # counted as a sign-in
            raise forms.ValidationError("That is not your password.")
        return entered


class FreezeForm(forms.Form):
    note = forms.CharField(
        required=False,
        max_length=Snapshot._meta.get_field("note").max_length,
        help_text="What the snapshot is for.",
    )
    licence = forms.CharField(
        label="Licence",
        required=False,
        max_length=100,
        help_text="For the data card, for example “cc-by-4.0”.",
    )
    imported = forms.BooleanField(label="With the imported judgments", required=False)


class ImportForm(forms.Form):
    """A file, or pasted text: a prompt on each line, or blocks of several lines with answers."""

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
        help_text="One prompt per line. Or longer prompts, each ended by a line of ===; answers follow their prompt, each after a"
        " line of ---.",
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
        if self.cleaned_data["file"]:
            return str(self.cleaned_data["file"].name)
        return "Pasted blocks.jsonl" if has_blocks(self.cleaned_data["text"]) else "Pasted list.txt"

    def content(self) -> IO[bytes]:
        if self.cleaned_data["file"]:
            return self.cleaned_data["file"]
        text = self.cleaned_data["text"]
        return BytesIO((blocks_as_json_lines(text) if has_blocks(text) else text).encode())


class ImportStartForm(forms.Form):
    """What becomes of columns that the format does not have, of rows that cannot be read, and of preferences."""

    other_columns = forms.ChoiceField(choices=Import.OtherColumns, required=False)
    set_aside_share = forms.FloatField(min_value=0, max_value=1, required=False)
    judgments = forms.ChoiceField(choices=Import.Judgments, required=False)
    judged_by = forms.ChoiceField(choices=User.Account, required=False)

    def clean_judgments(self) -> str:
        return self.cleaned_data["judgments"] or Import.Judgments.LEAVE_OUT

    def clean_other_columns(self) -> str:
        return self.cleaned_data["other_columns"] or Import.OtherColumns.STOP

    def clean_set_aside_share(self) -> float:
        return self.cleaned_data["set_aside_share"] or 0.0


class TokenForm(forms.Form):
    """A new API token. `days` is cleaned to a number; None means that it never expires."""

    name = forms.CharField(
        max_length=80, help_text="What will use it: “notebook”, “nightly export”, “AI labeler”."
    )
    scope = forms.ChoiceField(
        label="Scope", choices=ApiToken.Scope.choices, initial=ApiToken.Scope.READ, widget=forms.RadioSelect
    )
    days = forms.TypedChoiceField(
        label="Expires",
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
        label="Events",
        choices=EVENTS.items(),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one."},
    )


class WebhookForm(WebhookEventsForm):
    url = forms.CharField(
        label="URL",
        max_length=Webhook._meta.get_field("url").max_length,
        help_text="A public https:// or http:// URL.",
        widget=forms.URLInput(attrs={"placeholder": "https://"}),
    )


class JudgingViewForm(forms.ModelForm):
    """How the judging screens show the answers."""

    class Meta:
        model = User
        fields = ("judging_layout", "judging_text_size")
        labels = {"judging_layout": "Layout of the answers", "judging_text_size": "Text size"}
        widgets = {"judging_layout": forms.RadioSelect, "judging_text_size": forms.RadioSelect}


class JudgingKeysForm(forms.Form):
    """A key for each command of the judging screens, in a field of its name."""

    shortcuts = forms.BooleanField(
        label="Keys on letters, digits and signs",
        required=False,
        help_text="Turn them off if you dictate or press keys by accident. Arrows, Enter, Escape and Tab always work.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, command in judging_keys.COMMANDS.items():
            widget = forms.TextInput(
                attrs={"maxlength": 1, "autocomplete": "off", "autocapitalize": "characters"}
            )
            self.fields[name] = forms.CharField(
                label=command.label, help_text=command.help, widget=widget, required=False
            )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        keys = {name: judging_keys.normalized(data.get(name, "")) for name in judging_keys.COMMANDS}
        for name, sentence in judging_keys.problems(keys).items():
            if name not in self.errors:
                self.add_error(name, sentence)
        return data | keys

    def commands(self) -> list[forms.BoundField]:
        return [self[name] for name in judging_keys.COMMANDS]


class BatchForm(forms.Form):
    """A new batch: a name, people, a due date in the lead's zone, and which open items."""

    FILTERS = ("tag", "text", "metadata")

    name = forms.CharField(max_length=80, widget=forms.TextInput(attrs={"placeholder": "Week 48"}))
    users = forms.MultipleChoiceField(
        label="For",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one member."},
    )
    due_at = forms.DateTimeField(
        label="Due",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="In your time zone.",
    )
    limit = forms.IntegerField(
        label="How many items",
        min_value=1,
        max_value=MAX_BATCH_ITEMS,
        initial=50,
        help_text="The newest open ones that match.",
    )
    tag = forms.CharField(required=False, max_length=60)
    text = forms.CharField(label="Prompt contains", required=False, max_length=200)
    metadata = forms.CharField(
        required=False, max_length=200, widget=forms.TextInput(attrs={"placeholder": "name=value"})
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        members = project.members.select_related("user").order_by("user__username")
        cast("forms.MultipleChoiceField", self.fields["users"]).choices = [
            (str(member.user_id), f"{member.user} ({member.role})") for member in members
        ]

    def clean_metadata(self) -> str:
        text: str = self.cleaned_data["metadata"]
        if text and "=" not in text:
            raise forms.ValidationError("Metadata is searched for as name=value.")
        return text


class DisplayForm(forms.ModelForm):
    """A user's time zone, and whether notifications are sent by e-mail."""

    class Meta:
        model = User
        fields = ("time_zone", "email_notifications")
        labels = {"email_notifications": "E-mail me about replies and batches"}
        help_texts = {"email_notifications": "At most one e-mail an hour, to your confirmed address."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = zone_names()
        self.fields["time_zone"] = forms.CharField(
            required=False,
            label="Time zone",
            help_text="Days, hours and due dates are shown in it.",
            widget=forms.Select(
                choices=[("", "The site's: UTC"), *((name, name.replace("_", " ")) for name in names)]
            ),
        )
        if not settings.EMAIL_ENABLED:
            del self.fields["email_notifications"]

    def clean_time_zone(self) -> str:
        name: str = self.cleaned_data["time_zone"]
        if name:
            try:
                zone_named(name)
            except ValueError as error:
                raise forms.ValidationError(str(error)) from None
        return name
