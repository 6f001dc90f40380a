"""The form of a constitution: one row for each principle."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from annotation.logic.principles import (
    COMMENT_LIMITS,
    MAX_PRINCIPLES,
    TEXT_LIMITS,
    Principle,
    PrincipleError,
    read_principles,
)


def _line(label: Any, help_text: Any = "") -> forms.CharField:
    return forms.CharField(label=label, help_text=help_text, required=False)


def _instruction(label: Any, help_text: Any) -> forms.CharField:
    return forms.CharField(
        label=label, help_text=help_text, required=False, widget=forms.Textarea(attrs={"rows": 2})
    )


class PrincipleForm(forms.Form):
    """One principle; `logic.principles` checks what is entered."""

    key = _line(_("Key"), _("Its name in opinions and exports: letters, digits, hyphens."))
    tag = _line(_("Only for prompts with the tag"), _("Empty: for prompts that no other principle names."))
    compare = _instruction(_("Compare"), _("The question by which a judge compares two answers."))
    critique = _instruction(_("Critique"), _("How a model finds what is wrong with its answer."))
    revise = _instruction(_("Revise"), _("How it then rewrites the answer."))
    start = _line(_("A comment begins"))
    good = _line(_("Good word"))
    bad = _line(_("Bad word"))
    also = _line(_("Second good word"))

    @property
    def has_comment(self) -> bool:
        return any(self[name].value() or self[name].errors for name in COMMENT_LIMITS)

    def as_data(self) -> dict[str, Any]:
        """The principle as `read_principles` reads it."""
        data: dict[str, Any] = {name: self.cleaned_data.get(name, "") for name in TEXT_LIMITS}
        comment = {name: self.cleaned_data.get(name, "") for name in COMMENT_LIMITS}
        return data | ({"comment": comment} if any(comment.values()) else {})


class BasePrincipleFormSet(forms.BaseFormSet[PrincipleForm]):
    """The principles of a constitution. Empty rows, and those to be removed, are left out."""

    principles: list[Principle]

    def add_fields(self, form: PrincipleForm, index: int | None) -> None:
        super().add_fields(form, index)
        form.fields["ORDER"].label = gettext("Position")
        form.fields["DELETE"].label = gettext("Remove")

    @property
    def rows(self) -> list[PrincipleForm]:
        """The forms as they are shown, by position; new ones last."""
        return sorted(self.forms, key=_position)

    def clean(self) -> None:
        rows = [
            form
            for form in self.rows
            if form.is_valid() and not form.cleaned_data.get("DELETE") and any(form.as_data().values())
        ]
        try:
            self.principles = read_principles([form.as_data() for form in rows])
        except PrincipleError as error:
            field = error.field.removeprefix("comment.")
            if error.number is None or field not in PrincipleForm.base_fields:
                raise forms.ValidationError(error.located) from None
            rows[error.number].add_error(field, str(error))
            raise forms.ValidationError(
                ngettext(
                    "Nothing was saved. Correct the marked field and submit again.",
                    "Nothing was saved. Correct the marked fields and submit again.",
                    1,
                )
            ) from None


def _position(form: PrincipleForm) -> float:
    try:
        return float(form["ORDER"].value())
    except (TypeError, ValueError):
        return float("inf")


PrincipleFormSet = cast(
    "type[BasePrincipleFormSet]",
    forms.formset_factory(
        PrincipleForm,
        formset=BasePrincipleFormSet,
        extra=1,
        can_delete=True,
        can_order=True,
        max_num=MAX_PRINCIPLES,
        absolute_max=2 * MAX_PRINCIPLES,
    ),
)


def initial_of(principles: list[Principle]) -> list[dict[str, str]]:
    """What the form is filled with."""
    rows = (principle.as_data() for principle in principles)
    return [row | row.pop("comment", {}) for row in rows]
