"""Django admin. Judgments, snapshots and other append-only data are read-only."""

from __future__ import annotations

from typing import Any

from allauth.socialaccount.models import SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from annotation.models import (
    ApiToken,
    Author,
    Guideline,
    Item,
    Judgment,
    Member,
    Placement,
    Project,
    Prompt,
    Response,
    Skip,
    Slot,
    Snapshot,
    User,
)

# the provider of single sign-on is in the settings, and its tokens are not kept
admin.site.unregister([SocialApp, SocialToken])


class ReadOnly:
    """For models that are written by actions only."""

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False


class MemberInline(admin.TabularInline):
    model = Member
    extra = 0
    autocomplete_fields = ["user"]


class PlacementInline(ReadOnly, admin.TabularInline):
    model = Placement
    extra = 0


@admin.register(User)
class PersonAdmin(UserAdmin):
    list_display = ("username", "pseudonym", "is_active", "is_staff", "last_login")
    readonly_fields = ("pseudonym",)
    fieldsets = (*(UserAdmin.fieldsets or ()), ("In exports", {"fields": ("pseudonym",)}))


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin):
    list_display = ("name", "slug", "criterion", "k", "overlap", "created_at")
    search_fields = ("name", "slug")
    # queued items depend on these; the project's settings page checks when they may change
    readonly_fields = ("slug", "k")
    inlines = (MemberInline,)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # new projects need a lead and guidelines: see the page for new projects

    def has_delete_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        return False


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    list_display = ("name", "user", "scope", "created_at", "expires_at", "last_used_at")
    list_select_related = ("user",)
    exclude = ("digest",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a key is shown only to its owner, when it is created

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False


@admin.register(Guideline)
class GuidelineAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("project", "number", "author", "created_at")
    list_select_related = ("project", "author")


@admin.register(Prompt)
class PromptAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("external_id", "project", "split", "tags", "created_at")
    list_filter = ("project", "split")
    list_select_related = ("project",)
    search_fields = ("external_id",)
    show_full_result_count = False


@admin.register(Author)
class AuthorAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("name", "kind", "project")
    list_select_related = ("project",)


@admin.register(Response)
class ResponseAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("id", "prompt", "author", "created_at")
    list_select_related = ("prompt", "author")
    show_full_result_count = False


@admin.register(Item)
class ItemAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("id", "project", "prompt", "created_at")
    list_filter = ("project",)
    list_select_related = ("project", "prompt")
    show_full_result_count = False


@admin.register(Slot)
class SlotAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("id", "item", "state", "annotator", "leased_until", "priority")
    list_filter = ("state", "project")
    list_select_related = ("item", "annotator")
    exclude = ("token",)
    show_full_result_count = False


@admin.register(Skip)
class SkipAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("item", "annotator", "reason", "created_at")
    list_filter = ("reason",)
    list_select_related = ("item", "annotator")


@admin.register(Judgment)
class JudgmentAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("id", "item", "annotator", "degree", "seconds", "created_at")
    list_filter = ("item__project",)
    list_select_related = ("item", "annotator")
    inlines = (PlacementInline,)
    show_full_result_count = False


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("project", "number", "note", "sha256", "created_by", "created_at")
    list_select_related = ("project", "created_by")
