"""Users, prompts, the queue and judgments, with their constraints; writes that span rows are in `actions`."""

from annotation.models.ai_feedback import Constitution, Opinion, OpinionSet
from annotation.models.audit import AuditEntry
from annotation.models.batches import Batch, BatchMember
from annotation.models.chats import Chat, ChatSettings, Turn
from annotation.models.erasures import Erasure
from annotation.models.imported_judgments import ImportedJudgment
from annotation.models.imports import Import
from annotation.models.judgments import Agreement, Judgment, Placement, ReviewFlag, Verdict
from annotation.models.messages import Message
from annotation.models.notifications import Notification
from annotation.models.people import ApiToken, Exclusion, Invitation, Member, User
from annotation.models.projects import Guideline, Project, ProjectCount, QuestionSet
from annotation.models.prompts import Author, Prompt, Response
from annotation.models.queue import Candidate, Draft, Item, Skip, Slot
from annotation.models.rules import Rule
from annotation.models.saved_views import SavedView
from annotation.models.snapshots import ExportFile, Snapshot, SnapshotJob
from annotation.models.webhooks import Delivery, Webhook

__all__ = [
    "Agreement",
    "ApiToken",
    "AuditEntry",
    "Author",
    "Batch",
    "BatchMember",
    "Candidate",
    "Chat",
    "ChatSettings",
    "Constitution",
    "Delivery",
    "Draft",
    "Erasure",
    "Exclusion",
    "ExportFile",
    "Guideline",
    "Import",
    "ImportedJudgment",
    "Invitation",
    "Item",
    "Judgment",
    "Member",
    "Message",
    "Notification",
    "Opinion",
    "OpinionSet",
    "Placement",
    "Project",
    "ProjectCount",
    "Prompt",
    "QuestionSet",
    "Response",
    "ReviewFlag",
    "Rule",
    "SavedView",
    "Skip",
    "Slot",
    "Snapshot",
    "SnapshotJob",
    "Turn",
    "User",
    "Verdict",
    "Webhook",
]
