from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from annotation.views import account, datasets, guidelines, home, imports, judge, members, progress, projects

urlpatterns = [
    # --- people -----------------------------------------------------------------------------------------------
    path("sign-in/", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("sign-out/", auth.LogoutView.as_view(), name="logout"),
    path("password/", auth.PasswordChangeView.as_view(), name="password_change"),
    path("password/done/", auth.PasswordChangeDoneView.as_view(), name="password_change_done"),
    path("", home.home, name="home"),
    # --- judging ----------------------------------------------------------------------------------------------
    path("p/<slug:slug>/work/", judge.work, name="work"),
    path("p/<slug:slug>/work/skip/", judge.skip, name="work-skip"),
    path("p/<slug:slug>/work/draft/", judge.draft, name="work-draft"),
    path("p/<slug:slug>/work/guidelines/", judge.guidelines, name="work-guidelines"),
    # --- leading ----------------------------------------------------------------------------------------------
    path("projects/new/", projects.project_new, name="project-new"),
    path("markdown/", guidelines.markdown_preview, name="markdown-preview"),
    path("p/<slug:slug>/settings/", projects.project_settings, name="project-settings"),
    path("p/<slug:slug>/guidelines/", guidelines.guidelines, name="guidelines"),
    path("p/<slug:slug>/guidelines/<int:number>/", guidelines.guideline, name="guideline"),
    path("p/<slug:slug>/members/", members.members, name="members"),
    path("p/<slug:slug>/members/new-account/", members.member_create, name="member-create"),
    path("p/<slug:slug>/members/<int:pk>/role/", members.member_role, name="member-role"),
    path("p/<slug:slug>/members/<int:pk>/remove/", members.member_remove, name="member-remove"),
    path("p/<slug:slug>/import/", imports.import_file, name="import"),
    path("p/<slug:slug>/progress/", progress.progress, name="progress"),
    path("p/<slug:slug>/data/", datasets.data, name="data"),
    path("p/<slug:slug>/data/freeze/", datasets.freeze, name="freeze"),
    path("p/<slug:slug>/data/live/<str:format>.jsonl", datasets.live_download, name="data-live"),
    path(
        "p/<slug:slug>/data/<int:number>/<str:format>.jsonl", datasets.snapshot_download, name="data-download"
    ),
    # --- one's own account ------------------------------------------------------------------------------------
    path("account/", account.account, name="account"),
    path("account/tokens/<int:pk>/revoke/", account.token_revoke, name="token-revoke"),
]
