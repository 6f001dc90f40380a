"""Forms of data: imports, snapshots and webhooks."""

from __future__ import annotations

from io import BytesIO
from typing import IO, Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext_lazy as _

from annotation.actions.uploads import too_large_message
from annotation.imports.pasted_text import blocks_as_json_lines, has_blocks
from annotation.models import Import, Snapshot, User, Webhook
from annotation.models.webhooks import EVENTS


class FreezeForm(forms.Form):
    note = forms.CharField(
        label=_("Note"),
        required=False,
        max_length=Snapshot._meta.get_field("note").max_length,
        help_text=_("What the snapshot is for."),
    )
    licence = forms.CharField(
        label=_("Licence"),
        required=False,
        max_length=100,
        help_text=_("For the data card, for example “cc-by-4.0”."),
    )
    imported = forms.BooleanField(label=_("With the imported judgments"), required=False)


class ImportForm(forms.Form):
    """A file, or pasted text: a prompt on each line, or blocks of several lines with answers."""

    file = forms.FileField(
        label=_("A file of prompts"),
        required=False,
        max_length=1000,
        help_text=_(
            "JSON Lines, a JSON list, CSV or Parquet, in any of the formats below; also compressed with gzip (.gz)."
        ),
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.ndjson,.json,.txt,.csv,.tsv,.parquet,.gz"}),
        error_messages={"empty": _("The file is empty.")},
    )
    text = forms.CharField(
        label=_("Or paste a list"),
        required=False,
        max_length=5_000_000,
        help_text=_(
            "One prompt per line. Or longer prompts, each ended by a line of ===; answers follow their prompt, each after a"
            " line of ---."
        ),
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
            self.add_error("file", _("Choose a file first, or paste a list."))
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


class WebhookEventsForm(forms.Form):
    events = forms.MultipleChoiceField(
        label=_("Events"),
        choices=EVENTS.items(),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one.")},
    )


class WebhookForm(WebhookEventsForm):
    url = forms.CharField(
        label="URL",
        max_length=Webhook._meta.get_field("url").max_length,
        help_text=_("A public https:// or http:// URL."),
        widget=forms.URLInput(attrs={"placeholder": "https://"}),
    )
