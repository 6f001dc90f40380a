"""Forms of members, invitations and batches of items for named people."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.utils.translation import gettext_lazy as _

from annotation.logic.limits import MAX_BATCH_ITEMS
from annotation.models import Invitation, Member, Project, User


class AddMemberForm(forms.Form):
    username = forms.CharField(label=_("User name"), max_length=150)
    role = forms.ChoiceField(label=_("Role"), choices=Member.Role.choices, initial=Member.Role.ANNOTATOR)


class NewAccountForm(forms.Form):
    username = forms.CharField(
        label=_("User name"), max_length=150, help_text=_("Letters, digits and @ . + - _")
    )
    account = forms.ChoiceField(
        label=_("Type"),
        choices=User.Account.choices,
        initial=User.Account.PERSON,
        required=False,
        help_text=_("Judgments of machines are kept apart from those of people."),
    )

    def clean_account(self) -> str:
        return self.cleaned_data["account"] or User.Account.PERSON


class InvitationForm(forms.Form):
    """An invitation link. `days` is cleaned to a number."""

    role = forms.ChoiceField(label=_("Role"), choices=Member.Role.choices, initial=Member.Role.ANNOTATOR)
    places = forms.IntegerField(
        label=_("Number of people"), initial=1, min_value=1, max_value=1000, help_text=_("1 to 1,000.")
    )
    days = forms.TypedChoiceField(
        label=_("Expires"),
        choices=[
            ("1", _("tomorrow")),
            ("7", _("in a week")),
            ("30", _("in 30 days")),
            ("90", _("in 90 days")),
        ],
        initial="7",
        coerce=int,
    )
    note = forms.CharField(
        label=_("Who it is for"), required=False, max_length=Invitation._meta.get_field("note").max_length
    )


class SignUpForm(forms.Form):
    """A new account, created with an invitation."""

    username = forms.CharField(
        label=_("User name"),
        max_length=150,
        validators=[UnicodeUsernameValidator()],
        help_text=_("Files of judgments never name you by it."),
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=4096,
        help_text=_("At least 8 characters."),
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


class BatchForm(forms.Form):
    """A new batch: a name, people, a due date in the lead's zone, and which open items."""

    FILTERS = ("tag", "text", "metadata")

    name = forms.CharField(
        label=_("Name"), max_length=80, widget=forms.TextInput(attrs={"placeholder": _("Week 48")})
    )
    users = forms.MultipleChoiceField(
        label=_("For"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one member.")},
    )
    due_at = forms.DateTimeField(
        label=_("Due"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text=_("In your time zone."),
    )
    limit = forms.IntegerField(
        label=_("How many items"),
        min_value=1,
        max_value=MAX_BATCH_ITEMS,
        initial=50,
        help_text=_("The newest open ones that match."),
    )
    tag = forms.CharField(label=_("Tag"), required=False, max_length=60)
    text = forms.CharField(label=_("Prompt contains"), required=False, max_length=200)
    metadata = forms.CharField(
        label=_("Metadata"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"placeholder": _("name=value")}),
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        members = project.members.select_related("user").order_by("user__username")
        cast("forms.MultipleChoiceField", self.fields["users"]).choices = [
            (str(member.user_id), f"{member.user} ({member.role_name})") for member in members
        ]

    def clean_metadata(self) -> str:
        text: str = self.cleaned_data["metadata"]
        if text and "=" not in text:
            raise forms.ValidationError(_("Metadata is searched for as name=value."))
        return text
