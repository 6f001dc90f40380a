"""URLs of the API of projects, judgments and exports."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from annotation.api import schema  # noqa: F401 - registers its extension
from annotation.api.ai_feedback import OpinionSetApi, OpinionSetsApi
from annotation.api.audit import AuditApi
from annotation.api.batches import BatchApi, BatchesApi, CloseBatchApi
from annotation.api.chats import (
    AllChatsApi,
    ChatApi,
    ChatsApi,
    DropTurnApi,
    EndChatApi,
    JudgeTurnApi,
    RetryApi,
    TurnApi,
    TurnsApi,
    TurnStreamApi,
    WriteAnswerApi,
)
from annotation.api.constitution import ConstitutionApi
from annotation.api.imports import CancelImportApi, ImportApi, ImportsApi
from annotation.api.invitations import InvitationApi, InvitationsApi
from annotation.api.items import GuidelinesApi, ItemsApi
from annotation.api.judgments import JudgmentApi, JudgmentsApi, MyJudgmentsApi, ReviseApi
from annotation.api.members import AccountsApi, MemberActApi, MemberApi, MembersApi
from annotation.api.projects import ProjectApi, ProjectsApi
from annotation.api.prompts import PromptsApi
from annotation.api.quality import QualityApi
from annotation.api.questions import QuestionsApi
from annotation.api.queue import DraftApi, NextApi, RenewApi, SkipApi
from annotation.api.reminders import RemindersApi
from annotation.api.review import ItemActApi, ItemApi
from annotation.api.rules import RuleApi, RulesApi
from annotation.api.snapshots import (
    CancelSnapshotJobApi,
    DifferenceApi,
    SnapshotApi,
    SnapshotFileApi,
    SnapshotHubApi,
    SnapshotJobApi,
    SnapshotsApi,
)
from annotation.api.timesheets import TimesheetApi
from annotation.api.tokens import TokenApi, TokensApi
from annotation.api.webhooks import DeliveriesApi, RedeliverApi, TestApi, WebhookApi, WebhooksApi

PROJECT = "projects/<slug:slug>/"
SNAPSHOT = f"{PROJECT}snapshots/<int:number>/"
TURN = f"{PROJECT}chats/<int:pk>/turns/<int:turn>/"
WEBHOOK = f"{PROJECT}webhooks/<int:pk>/"

urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="api-schema"), name="api-docs"),
    path("tokens/", TokensApi.as_view(), name="api-tokens"),
    path("tokens/<int:pk>/", TokenApi.as_view(), name="api-token"),
    path("projects/", ProjectsApi.as_view(), name="api-projects"),
    path(PROJECT, ProjectApi.as_view(), name="api-project"),
    path(f"{PROJECT}members/", MembersApi.as_view(), name="api-members"),
    path(f"{PROJECT}members/<int:pk>/", MemberApi.as_view(), name="api-member"),
    path(f"{PROJECT}members/<int:pk>/<slug:verb>/", MemberActApi.as_view(), name="api-member-act"),
    path(f"{PROJECT}accounts/", AccountsApi.as_view(), name="api-accounts"),
    path(f"{PROJECT}invitations/", InvitationsApi.as_view(), name="api-invitations"),
    path(f"{PROJECT}invitations/<int:pk>/", InvitationApi.as_view(), name="api-invitation"),
    path(f"{PROJECT}rules/", RulesApi.as_view(), name="api-rules"),
    path(f"{PROJECT}rules/<int:pk>/", RuleApi.as_view(), name="api-rule"),
    path(f"{PROJECT}timesheet/", TimesheetApi.as_view(), name="api-timesheet"),
    path(f"{PROJECT}batches/", BatchesApi.as_view(), name="api-batches"),
    path(f"{PROJECT}batches/<int:pk>/", BatchApi.as_view(), name="api-batch"),
    path(f"{PROJECT}batches/<int:pk>/close/", CloseBatchApi.as_view(), name="api-batch-close"),
    path(f"{PROJECT}reminders/", RemindersApi.as_view(), name="api-reminders"),
    path(f"{PROJECT}audit/", AuditApi.as_view(), name="api-audit"),
    path(f"{PROJECT}quality/", QualityApi.as_view(), name="api-quality"),
    path(f"{PROJECT}opinion-sets/", OpinionSetsApi.as_view(), name="api-opinion-sets"),
    path(f"{PROJECT}opinion-sets/<int:number>/", OpinionSetApi.as_view(), name="api-opinion-set"),
    path(f"{PROJECT}questions/", QuestionsApi.as_view(), name="api-questions"),
    path(f"{PROJECT}constitution/", ConstitutionApi.as_view(), name="api-constitution"),
    path(f"{PROJECT}guidelines/", GuidelinesApi.as_view(), name="api-guidelines"),
    path(f"{PROJECT}prompts/", PromptsApi.as_view(), name="api-prompts"),
    path(f"{PROJECT}imports/", ImportsApi.as_view(), name="api-imports"),
    path(f"{PROJECT}imports/<int:pk>/", ImportApi.as_view(), name="api-import"),
    path(f"{PROJECT}imports/<int:pk>/cancel/", CancelImportApi.as_view(), name="api-import-cancel"),
    path(f"{PROJECT}items/", ItemsApi.as_view(), name="api-items"),
    path(f"{PROJECT}items/<int:pk>/", ItemApi.as_view(), name="api-item"),
    path(f"{PROJECT}items/<int:pk>/<slug:verb>/", ItemActApi.as_view(), name="api-item-act"),
    path(f"{PROJECT}judgments/", JudgmentsApi.as_view(), name="api-judgments"),
    path(f"{PROJECT}judgments/mine/", MyJudgmentsApi.as_view(), name="api-judgments-mine"),
    path(f"{PROJECT}judgments/<int:pk>/", JudgmentApi.as_view(), name="api-judgment"),
    path(f"{PROJECT}judgments/<int:pk>/revise/", ReviseApi.as_view(), name="api-judgment-revise"),
    path(f"{PROJECT}next/", NextApi.as_view(), name="api-next"),
    path(f"{PROJECT}skip/", SkipApi.as_view(), name="api-skip"),
    path(f"{PROJECT}renew/", RenewApi.as_view(), name="api-renew"),
    path(f"{PROJECT}draft/", DraftApi.as_view(), name="api-draft"),
    path(f"{PROJECT}chats/", ChatsApi.as_view(), name="api-chats"),
    path(f"{PROJECT}chats/all/", AllChatsApi.as_view(), name="api-chats-all"),
    path(f"{PROJECT}chats/<int:pk>/", ChatApi.as_view(), name="api-chat"),
    path(f"{PROJECT}chats/<int:pk>/end/", EndChatApi.as_view(), name="api-chat-end"),
    path(f"{PROJECT}chats/<int:pk>/turns/", TurnsApi.as_view(), name="api-chat-turns"),
    path(TURN, TurnApi.as_view(), name="api-chat-turn"),
    path(f"{TURN}stream/", TurnStreamApi.as_view(), name="api-chat-turn-stream"),
    path(f"{TURN}judgment/", JudgeTurnApi.as_view(), name="api-chat-turn-judge"),
    path(f"{TURN}answer/", WriteAnswerApi.as_view(), name="api-chat-turn-write"),
    path(f"{TURN}drop/", DropTurnApi.as_view(), name="api-chat-turn-drop"),
    path(f"{TURN}retry/", RetryApi.as_view(), name="api-chat-turn-retry"),
    path(f"{PROJECT}snapshots/", SnapshotsApi.as_view(), name="api-snapshots"),
    path(f"{PROJECT}snapshots/jobs/<int:pk>/", SnapshotJobApi.as_view(), name="api-snapshot-job"),
    path(
        f"{PROJECT}snapshots/jobs/<int:pk>/cancel/",
        CancelSnapshotJobApi.as_view(),
        name="api-snapshot-job-cancel",
    ),
    path(SNAPSHOT, SnapshotApi.as_view(), name="api-snapshot"),
    path(f"{SNAPSHOT}file/", SnapshotFileApi.as_view(), name="api-snapshot-file"),
    path(f"{SNAPSHOT}hub/", SnapshotHubApi.as_view(), name="api-snapshot-hub"),
    path(f"{SNAPSHOT}difference/", DifferenceApi.as_view(), name="api-snapshot-difference"),
    path(f"{PROJECT}webhooks/", WebhooksApi.as_view(), name="api-webhooks"),
    path(WEBHOOK, WebhookApi.as_view(), name="api-webhook"),
    path(f"{WEBHOOK}test/", TestApi.as_view(), name="api-webhook-test"),
    path(f"{WEBHOOK}deliveries/", DeliveriesApi.as_view(), name="api-deliveries"),
    path(
        f"{WEBHOOK}deliveries/<int:delivery>/redeliver/",
        RedeliverApi.as_view(),
        name="api-delivery-redeliver",
    ),
]
