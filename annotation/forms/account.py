"""Forms of one's own account: tokens, display, judging screens, erasing it."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import get_adapter
from django import forms
from django.conf import settings
from django.utils.translation import get_language_info, gettext_lazy
from django.utils.translation import gettext as _

from annotation.logic import judging_keys
from annotation.logic.time_zones import zone_named, zone_names
from annotation.models import ApiToken, User


class EraseForm(forms.Form):
    """Asks for the password again, in case somebody else uses an unattended session; whoever has none, for their user name."""

    password = forms.CharField(
        label=gettext_lazy("Your password"),
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        if not user.has_usable_password():
            self.fields["password"] = forms.CharField(label=_("Your user name"), max_length=150)

    def clean_password(self) -> str:
        entered: str = self.cleaned_data["password"]
        if not self.user.has_usable_password():
            if entered != self.user.username:
                raise forms.ValidationError(_("That is not your user name."))
        elif not get_adapter().reauthenticate(self.user, entered):  # counted as a sign-in
            raise forms.ValidationError(_("That is not your password."))
        return entered


class TokenForm(forms.Form):
    """A new API token. `days` is cleaned to a number; None means that it never expires."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=80,
        help_text=gettext_lazy("What will use it: “notebook”, “nightly export”, “AI labeler”."),
    )
    scope = forms.ChoiceField(
        label=gettext_lazy("Scope"),
        choices=ApiToken.Scope.choices,
        initial=ApiToken.Scope.READ,
        widget=forms.RadioSelect,
    )
    days = forms.TypedChoiceField(
        label=gettext_lazy("Expires"),
        choices=[
            ("7", gettext_lazy("in a week")),
            ("30", gettext_lazy("in 30 days")),
            ("90", gettext_lazy("in 90 days")),
            ("365", gettext_lazy("in a year")),
            ("", gettext_lazy("never")),
        ],
        initial="90",
        required=False,
        coerce=int,
        empty_value=None,
    )


class JudgingViewForm(forms.ModelForm):
    """How the judging screens show the answers."""

    class Meta:
        model = User
        fields = ("judging_layout", "judging_text_size")
        labels = {
            "judging_layout": gettext_lazy("Layout of the answers"),
            "judging_text_size": gettext_lazy("Text size"),
        }
        widgets = {"judging_layout": forms.RadioSelect, "judging_text_size": forms.RadioSelect}


class JudgingKeysForm(forms.Form):
    """A key for each command of the judging screens, in a field of its name."""

    shortcuts = forms.BooleanField(
        label=gettext_lazy("Keys on letters, digits and signs"),
        required=False,
        help_text=gettext_lazy(
            "Turn them off if you dictate or press keys by accident. Arrows, Enter, Escape and Tab always work."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, command in judging_keys.COMMANDS.items():
            widget = forms.TextInput(
                attrs={"maxlength": 1, "autocomplete": "off", "autocapitalize": "characters"}
            )
            self.fields[name] = forms.CharField(
                label=_(command.label), help_text=_(command.help), widget=widget, required=False
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


class DisplayForm(forms.ModelForm):
    """A user's time zone and language, and whether notifications are sent by e-mail."""

    class Meta:
        model = User
        fields = ("time_zone", "language", "email_notifications")
        labels = {
            "email_notifications": gettext_lazy(
                "E-mail me about replies, batches and reminders; as a lead, about rounds and runs that need me"
            )
        }
        help_texts = {
            "email_notifications": gettext_lazy("At most one e-mail an hour, to your confirmed address.")
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = zone_names()
        self.fields["time_zone"] = forms.CharField(
            required=False,
            label=_("Time zone"),
            help_text=_("Days, hours and due dates are shown in it."),
            widget=forms.Select(
                choices=[("UTC", "UTC"), *((name, name.replace("_", " ")) for name in names if name != "UTC")]
            ),
        )
        names_of_languages = [
            (code, get_language_info(code)["name_local"]) for code, _english in settings.LANGUAGES
        ]
        self.fields["language"] = forms.ChoiceField(
            required=False,
            label=_("Language"),
            choices=[("", _("The browser’s language")), *names_of_languages],
        )
        if len(settings.LANGUAGES) == 1:
            del self.fields["language"]
        if not settings.EMAIL_ENABLED:
            del self.fields["email_notifications"]

    def clean_time_zone(self) -> str:
        name: str = self.cleaned_data["time_zone"] or "UTC"
        try:
            zone_named(name)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        return name
