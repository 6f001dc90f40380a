from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from annotation.actions.passwords import reset_tokens
from annotation.views import (
    account,
    annotator,
    audit,
    guidelines,
    home,
    imports,
    invitations,
    members,
    my_judgments,
    progress,
    projects,
    quality,
    review,
    rules,
    snapshots,
    webhooks,
)
from annotation.views.judging import pages

urlpatterns = [
    # --- people -----------------------------------------------------------------------------------------------
    path("sign-in/", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("sign-out/", auth.LogoutView.as_view(), name="logout"),
    path("password/", auth.PasswordChangeView.as_view(), name="password_change"),
    path("password/done/", auth.PasswordChangeDoneView.as_view(), name="password_change_done"),
    path(
        "password/reset/<uidb64>/<token>/",
        auth.PasswordResetConfirmView.as_view(token_generator=reset_tokens),
        name="password_reset_confirm",
    ),
    path("password/reset/done/", auth.PasswordResetCompleteView.as_view(), name="password_reset_complete"),
    path("join/<str:key>/", invitations.join, name="join"),
    path("", home.home, name="home"),
    # --- judging ----------------------------------------------------------------------------------------------
    path("p/<slug:slug>/work/", pages.work, name="work"),
    path("p/<slug:slug>/work/skip/", pages.skip, name="work-skip"),
    path("p/<slug:slug>/work/draft/", pages.draft, name="work-draft"),
    path("p/<slug:slug>/work/guidelines/", pages.guidelines, name="work-guidelines"),
    path("p/<slug:slug>/work/ahead/", pages.ahead, name="work-ahead"),
    path("p/<slug:slug>/work/renew/", pages.renew, name="work-renew"),
    path("p/<slug:slug>/work/preview/", pages.preview, name="work-preview"),
    path("p/<slug:slug>/work/back/", pages.back, name="work-back"),
    path("judgments/", my_judgments.my_judgments, name="my-judgments"),
    path("judgments/<int:pk>/", my_judgments.my_judgment, name="my-judgment"),
    # --- leading ----------------------------------------------------------------------------------------------
    path("projects/new/", projects.project_new, name="project-new"),
    path("markdown/", guidelines.markdown_preview, name="markdown-preview"),
    path("p/<slug:slug>/settings/", projects.project_settings, name="project-settings"),
    path("p/<slug:slug>/settings/webhooks/", webhooks.webhooks, name="webhooks"),
    path("p/<slug:slug>/settings/webhooks/<int:pk>/", webhooks.webhook, name="webhook"),
    path("p/<slug:slug>/settings/webhooks/<int:pk>/log/", webhooks.webhook_log, name="webhook-log"),
    path("p/<slug:slug>/settings/webhooks/<int:pk>/switch/", webhooks.webhook_switch, name="webhook-switch"),
    path("p/<slug:slug>/settings/webhooks/<int:pk>/remove/", webhooks.webhook_remove, name="webhook-remove"),
    path("p/<slug:slug>/settings/webhooks/<int:pk>/test/", webhooks.webhook_test, name="webhook-test"),
    path(
        "p/<slug:slug>/settings/webhooks/<int:pk>/messages/<int:delivery>/again/",
        webhooks.webhook_redeliver,
        name="webhook-redeliver",
    ),
    path("p/<slug:slug>/guidelines/", guidelines.guidelines, name="guidelines"),
    path("p/<slug:slug>/guidelines/<int:number>/", guidelines.guideline, name="guideline"),
    path(
        "p/<slug:slug>/guidelines/<int:older>/<int:newer>/", guidelines.guideline_diff, name="guideline-diff"
    ),
    path("p/<slug:slug>/members/", members.members, name="members"),
    path("p/<slug:slug>/members/new-account/", members.member_create, name="member-create"),
    path("p/<slug:slug>/members/<int:pk>/role/", members.member_role, name="member-role"),
    path("p/<slug:slug>/members/<int:pk>/remove/", members.member_remove, name="member-remove"),
    path("p/<slug:slug>/members/<int:pk>/password/", members.member_password, name="member-password"),
    path("p/<slug:slug>/invitations/new/", invitations.invitation_make, name="invitation-make"),
    path(
        "p/<slug:slug>/invitations/<int:pk>/revoke/", invitations.invitation_revoke, name="invitation-revoke"
    ),
    path("p/<slug:slug>/import/", imports.import_file, name="import"),
    path("p/<slug:slug>/import/list/", imports.import_list, name="import-list"),
    path("p/<slug:slug>/import/<int:pk>/", imports.import_preview, name="import-preview"),
    path("p/<slug:slug>/import/<int:pk>/start/", imports.import_start, name="import-start"),
    path("p/<slug:slug>/import/<int:pk>/map/", imports.import_map, name="import-map"),
    path("p/<slug:slug>/import/<int:pk>/cancel/", imports.import_cancel, name="import-cancel"),
    path("p/<slug:slug>/progress/", progress.progress, name="progress"),
    # --- analytics and review ---------------------------------------------------------------------------------
    path("p/<slug:slug>/quality/", quality.quality, name="quality"),
    path("p/<slug:slug>/people/<str:username>/", annotator.annotator, name="annotator"),
    path("p/<slug:slug>/people/<str:username>/pause/", annotator.annotator_pause, name="annotator-pause"),
    path("p/<slug:slug>/people/<str:username>/warn/", annotator.annotator_warn, name="annotator-warn"),
    path("p/<slug:slug>/people/<str:username>/resume/", annotator.annotator_resume, name="annotator-resume"),
    path("p/<slug:slug>/review/", review.review, name="review"),
    path("p/<slug:slug>/items/", review.items, name="items"),
    path("p/<slug:slug>/items/<int:pk>/", review.item, name="item"),
    path("p/<slug:slug>/items/<int:pk>/decide/", review.item_decide, name="item-decide"),
    path("p/<slug:slug>/rules/", rules.rules, name="rules"),
    path("p/<slug:slug>/rules/<int:pk>/remove/", rules.rule_remove, name="rule-remove"),
    path("p/<slug:slug>/audit/", audit.audit, name="audit"),
    path("p/<slug:slug>/data/", snapshots.snapshots, name="snapshots"),
    path("p/<slug:slug>/data/freeze/", snapshots.freeze, name="freeze"),
    path("p/<slug:slug>/data/live/", snapshots.live_download, name="live-download"),
    path("p/<slug:slug>/data/<int:number>/", snapshots.snapshot, name="snapshot"),
    path("p/<slug:slug>/data/<int:number>/file/", snapshots.snapshot_download, name="snapshot-download"),
    path("p/<slug:slug>/data/<int:number>/hub/", snapshots.snapshot_hub, name="snapshot-hub"),
    path(
        "p/<slug:slug>/data/<int:number>/difference/",
        snapshots.snapshot_difference,
        name="snapshot-difference",
    ),
    # --- one's own account ------------------------------------------------------------------------------------
    path("account/", account.account, name="account"),
    path("account/export/", account.account_export, name="account-export"),
    path("account/erase/", account.account_erase, name="account-erase"),
    path("people/<int:pk>/erase/", account.person_erase, name="person-erase"),
    path("account/tokens/<int:pk>/revoke/", account.token_revoke, name="token-revoke"),
]
