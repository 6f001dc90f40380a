from __future__ import annotations

from allauth.account import views as allauth
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from django.contrib.auth import views as auth
from django.urls import path, re_path
from django.views.decorators.cache import never_cache
from django.views.generic import RedirectView

from annotation.views import (
    account,
    annotator,
    audit,
    batches,
    guidelines,
    home,
    imports,
    invitations,
    members,
    my_judgments,
    my_work,
    notifications,
    progress,
    projects,
    quality,
    review,
    rules,
    sign_in,
    snapshots,
    threads,
    webhooks,
)
from annotation.views.judging import pages
from annotation.views.sign_in import if_on

urlpatterns = [
    # --- signing in -------------------------------------------------------------------------------------------
    path("sign-in/", allauth.login, name="account_login"),
    path("sign-in/inactive/", allauth.account_inactive, name="account_inactive"),
    path("sign-out/", auth.LogoutView.as_view(), name="logout"),
    path("sign-in/code/", if_on("MFA", mfa.authenticate), name="mfa_authenticate"),
    path("sign-in/with/<slug:provider_id>/", sign_in.single_sign_on, name="openid_connect_login"),
    path("sign-in/with/<slug:provider_id>/callback/", sign_in.callback, name="openid_connect_callback"),
    path("password/", allauth.password_change, name="account_change_password"),
    path("password/none/", sign_in.no_password, name="account_set_password"),
    path("password/confirm/", allauth.reauthenticate, name="account_reauthenticate"),
    path(
        "password/forgotten/", if_on("EMAIL_ENABLED", allauth.password_reset), name="account_reset_password"
    ),
    path(
        "password/forgotten/sent/",
        if_on("EMAIL_ENABLED", allauth.password_reset_done),
        name="account_reset_password_done",
    ),
    re_path(
        r"^password/reset/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        never_cache(allauth.password_reset_from_key),
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/done/",
        allauth.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("join/<str:key>/", invitations.join, name="join"),
    path("", home.home, name="home"),
    # --- judging ----------------------------------------------------------------------------------------------
    path("p/<slug:slug>/work/", pages.work, name="work"),
    path("p/<slug:slug>/work/skip/", pages.skip, name="work-skip"),
    path("p/<slug:slug>/work/ask/", pages.ask, name="work-ask"),
    path("p/<slug:slug>/work/draft/", pages.draft, name="work-draft"),
    path("p/<slug:slug>/work/guidelines/", pages.guidelines, name="work-guidelines"),
    path("p/<slug:slug>/work/ahead/", pages.ahead, name="work-ahead"),
    path("p/<slug:slug>/work/renew/", pages.renew, name="work-renew"),
    path("p/<slug:slug>/work/preview/", pages.preview, name="work-preview"),
    path("p/<slug:slug>/work/back/", pages.back, name="work-back"),
    path("judgments/", my_judgments.my_judgments, name="my-judgments"),
    path("judgments/<int:pk>/", my_judgments.my_judgment, name="my-judgment"),
    path("judgments/<int:pk>/ask/", threads.judgment_ask, name="my-judgment-ask"),
    path("my-work/", my_work.my_work, name="my-work"),
    path("my-work/timesheet.csv", my_work.my_timesheet, name="my-timesheet"),
    path("my-work/threads/<int:pk>/", threads.thread_ask, name="thread-ask"),
    path("notifications/", notifications.notifications, name="notifications"),
    path("notifications/read/", notifications.notifications_read, name="notifications-read"),
    path("notifications/<int:pk>/", notifications.notification_open, name="notification-open"),
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
    path("p/<slug:slug>/members/restore/<int:user_id>/", members.member_restore, name="member-restore"),
    path("p/<slug:slug>/members/<int:pk>/password/", members.member_password, name="member-password"),
    path("p/<slug:slug>/timesheet.csv", my_work.project_timesheet, name="project-timesheet"),
    path("p/<slug:slug>/batches/", batches.batches, name="batches"),
    path("p/<slug:slug>/batches/<int:pk>/due/", batches.batch_due, name="batch-due"),
    path("p/<slug:slug>/batches/<int:pk>/close/", batches.batch_close, name="batch-close"),
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
    path("p/<slug:slug>/items/<int:pk>/reply/", threads.item_reply, name="item-reply"),
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
    path("account/display/", account.account_display, name="account-display"),
    path("account/time-zone/", account.account_time_zone, name="account-time-zone"),
    path("account/export/", account.account_export, name="account-export"),
    path("account/erase/", account.account_erase, name="account-erase"),
    path("people/<int:pk>/erase/", account.person_erase, name="person-erase"),
    path("account/tokens/<int:pk>/revoke/", account.token_revoke, name="token-revoke"),
    path("account/sessions/end/", account.sessions_end, name="sessions-end"),
    path("account/disconnect/", sign_in.disconnect, name="single-sign-on-disconnect"),
    path("account/email/", if_on("EMAIL_ENABLED", allauth.email), name="account_email"),
    path("account/email/<key>/", if_on("EMAIL_ENABLED", allauth.confirm_email), name="account_confirm_email"),
    path("account/mfa/", RedirectView.as_view(pattern_name="account"), name="mfa_index"),
    path("account/mfa/set-up/", if_on("MFA", totp.activate_totp), name="mfa_activate_totp"),
    path("account/mfa/remove/", if_on("MFA", totp.deactivate_totp), name="mfa_deactivate_totp"),
    path("account/mfa/confirm/", if_on("MFA", mfa.reauthenticate), name="mfa_reauthenticate"),
    path(
        "account/mfa/codes/",
        if_on("MFA", recovery_codes.view_recovery_codes),
        name="mfa_view_recovery_codes",
    ),
    path(
        "account/mfa/codes/new/",
        if_on("MFA", recovery_codes.generate_recovery_codes),
        name="mfa_generate_recovery_codes",
    ),
    path(
        "account/mfa/codes/file/",
        if_on("MFA", recovery_codes.download_recovery_codes),
        name="mfa_download_recovery_codes",
    ),
]
