"""Forms of a project: its settings, its own questions and its guidelines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.db.models import Field
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from annotation.actions.projects import SETTINGS
from annotation.logic.limits import MAX_TEXT_CHARS
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
from annotation.models import Project


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
        "gold_rate": _("Gold items (%)"),
        "control_rate": _("Random sample (%)"),
        "qualification_accuracy": _("Required accuracy (%)"),
    }

    OPTIONAL = ("task", "items_ahead", "qualification_items", "rationale", "images")

    class Meta:
        model = Project
        fields = SETTINGS
        labels = {
            "name": _("Name"),
            "criterion": _("Criterion"),
            "task": _("Task"),
            "k": _("Answers per prompt"),
            "asks_quality": _("Quality rating of each answer, 1 to 7"),
            "asks_flags": _("Flags"),
            "asks_safety": _("Safety rating of each answer"),
            "rationale": _("Written reasons"),
            "images": _("Pictures in texts"),
            "overlap": _("Judgments per item"),
            "lease_minutes": _("Idle time limit (minutes)"),
            "items_ahead": _("Items ahead"),
            "qualification_items": _("Qualification items"),
        }
        help_texts = {
            "name": _("Shown in lists of projects."),
            "lease_minutes": _("Time before an idle item is given to someone else."),
            "items_ahead": _(
                "Items after the current one that a page holds. With several, annotators can work on while offline."
            ),
            "criterion": _("What “better” means. The guidelines give the details."),
            "task": _("Rank or compare answers to a prompt; or write an answer, or improve one."),
            "asks_quality": _("In addition to the ranking."),
            "rationale": _(
                "Why annotators judged as they did. It takes them time: ask only if you will read it."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in self.SHARES.items():
            self.fields[name] = PercentField(label=label, help_text=_model_field(name).help_text)
        for name in self.OPTIONAL:
            self.fields[name].required = False
        if self.instance.pk and self.instance.items.exists():
            for name in ("task", "k", "overlap"):
                later = gettext("Changes apply to new items only.")
                self.fields[name].help_text = f"{self.fields[name].help_text} {later}"

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
        label=_("Guidelines"),
        strip=True,
        max_length=MAX_TEXT_CHARS,
        widget=forms.Textarea(attrs={"rows": 14}),
        help_text=_("Instructions for annotators, in Markdown. Later changes create numbered versions."),
        error_messages={
            "required": _("Annotators need guidelines: say in a few sentences what makes an answer better.")
        },
    )


class QuestionForm(forms.Form):
    """One of a project's own questions; `logic.questions` checks what is entered."""

    key = forms.CharField(required=False, widget=forms.HiddenInput)
    kind = forms.ChoiceField(
        label=_("Kind"), choices=[(kind.value, _(label)) for kind, label in KIND_LABELS.items()]
    )
    label = forms.CharField(label=_("Label"), required=False)
    help = forms.CharField(label=_("Explanation"), required=False)
    required = forms.BooleanField(label=_("Required"), required=False, initial=True)
    scale = forms.IntegerField(
        label=_("Highest rating"),
        required=False,
        initial=5,
        widget=forms.NumberInput(attrs={"min": MIN_SCALE, "max": MAX_SCALE}),
    )
    low = forms.CharField(label=_("1 means"), required=False)
    high = forms.CharField(label=_("The highest means"), required=False)
    min_chars = forms.IntegerField(
        label=_("Least characters"),
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

    def __init__(self, *args: Any, earlier: Iterable[Question] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.earlier = earlier

    def clean(self) -> None:
        rows = [
            form
            for form in self.forms
            if form.is_valid()
            and not form.cleaned_data.get("DELETE")
            and (form.cleaned_data.get("label") or form.cleaned_data.get("key"))
        ]
        try:
            self.questions = read_questions([form.as_data() for form in rows], self.earlier)
        except QuestionError as error:
            if error.number is None or error.field not in QuestionForm.base_fields:
                raise forms.ValidationError(str(error)) from None
            rows[error.number].add_error(error.field, str(error))
            raise forms.ValidationError(
                ngettext(
                    "Nothing was saved. Correct the marked field and submit again.",
                    "Nothing was saved. Correct the marked fields and submit again.",
                    1,
                )
            ) from None


QuestionFormSet = cast(
    "type[BaseQuestionFormSet]",
    forms.formset_factory(
        QuestionForm,
        formset=BaseQuestionFormSet,
        extra=1,
        can_delete=True,
        max_num=MAX_QUESTIONS,
        absolute_max=2 * MAX_QUESTIONS,
    ),
)


class GuidelineForm(forms.Form):
    text = forms.CharField(
        label=_("Guidelines"),
        max_length=MAX_TEXT_CHARS,
        widget=forms.Textarea(attrs={"rows": 18}),
        help_text=_("Markdown."),
        error_messages={"required": _("Guidelines cannot be empty.")},
    )
