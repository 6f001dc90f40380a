"""Views of lists that people saved."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from annotation.models.people import User
from annotation.models.projects import Project


class SavedView(models.Model):
    """The filters and the order of one of a project's lists under a name: for its owner, or for all who may see the list."""

    class List(models.TextChoices):
        """The names of the lists, which are those of their URLs."""

        ITEMS = "items"
        JUDGMENTS = "judgments"
        MEMBERS = "members"
        REVIEW = "review"
        RUNS = "runs"
        MODELS = "models"

    project = models.ForeignKey(Project, models.CASCADE, related_name="saved_views", db_index=False)
    owner = models.ForeignKey(User, models.CASCADE, related_name="saved_views")
    list = models.CharField(max_length=9, choices=List)
    name = models.CharField(max_length=60)
    query = models.CharField(
        max_length=2000, blank=True, help_text="The query string, without its question mark."
    )
    shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "list", "owner", "name"], name="names_of_views_differ"
            ),
            models.CheckConstraint(condition=~Q(name=""), name="a_view_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name
