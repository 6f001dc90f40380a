"""The floor: a Django site of one file that does what the annotators' hot loop cannot do without, and nothing else.

`/next` is a form like any other: session, signed-in user, CSRF, and by the ORM an insert, a slot done and the next slot
claimed. `/raw` does the same by two SQL statements, without session and user. Answers are a few bytes of JSON.
"""

from __future__ import annotations

import os
import sys

import django
import environ
from django.conf import settings

settings.configure(
    SECRET_KEY="floor",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={
        "default": environ.Env.db_url_config(os.environ["DATABASE_URL"])
        | {"OPTIONS": {"pool": {"min_size": 1, "max_size": 16}}}
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth import login  # noqa: E402  (models must be ready first)
from django.contrib.auth.decorators import login_required  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.middleware.csrf import get_token  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


class Slot(models.Model):
    item = models.PositiveIntegerField()
    state = models.CharField(max_length=10, default="open")
    annotator = models.ForeignKey(User, models.CASCADE, null=True)

    class Meta:
        app_label = "auth"
        indexes = [models.Index(fields=["state", "id"], name="slots_in_order")]


class Answer(models.Model):
    slot = models.OneToOneField(Slot, models.CASCADE)
    annotator = models.ForeignKey(User, models.CASCADE)
    key = models.UUIDField(unique=True)
    ranks = models.JSONField()

    class Meta:
        app_label = "auth"


RANKS = {"1": 1, "2": 2, "3": 3, "4": 4}


def start(request: HttpRequest) -> JsonResponse:
    login(request, User.objects.get(username=request.GET["username"]))
    get_token(request)
    return _take(request)


@login_required
def next_item(request: HttpRequest) -> JsonResponse:
    with transaction.atomic():
        slot = Slot.objects.get(pk=request.POST["slot"], annotator=request.user, state="leased")
        Answer.objects.create(slot=slot, annotator=request.user, key=request.POST["key"], ranks=RANKS)
        slot.state = "done"
        slot.save(update_fields=["state"])
    return _take(request)


def _take(request: HttpRequest) -> JsonResponse:
    with transaction.atomic():
        slot = Slot.objects.select_for_update(skip_locked=True).filter(state="open").order_by("id").first()
        if slot is None:
            return JsonResponse({"item": None, "slot": None})
        slot.state, slot.annotator = "leased", request.user
        slot.save(update_fields=["state", "annotator"])
    return JsonResponse({"item": slot.item, "slot": slot.pk})


SUBMIT = """WITH done AS (UPDATE auth_slot SET state = 'done' WHERE id = %(slot)s RETURNING id, annotator_id)
INSERT INTO auth_answer (slot_id, annotator_id, key, ranks) SELECT id, annotator_id, %(key)s::uuid, %(ranks)s::jsonb FROM done"""
CLAIM = """UPDATE auth_slot SET state = 'leased', annotator_id = 1 WHERE id = (
    SELECT id FROM auth_slot WHERE state = 'open' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING item, id"""


@csrf_exempt
def raw(request: HttpRequest) -> JsonResponse:
    with connection.cursor() as cursor:
        if request.method == "POST":
            values = {
                "slot": int(request.POST["slot"]),
                "key": request.POST["key"],
                "ranks": '{"1": 1, "2": 2}',
            }
            cursor.execute(SUBMIT, values)
        cursor.execute(CLAIM)
        found = cursor.fetchone() or (None, None)
    return JsonResponse({"item": found[0], "slot": found[1]})


urlpatterns = [path("start", start), path("next", next_item), path("raw", raw)]


def fill(items: int, annotators: int) -> None:
    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Slot)
        editor.create_model(Answer)
    User.objects.bulk_create(User(username=f"person-{n}") for n in range(annotators))
    Slot.objects.bulk_create(Slot(item=n) for n in range(1, items + 1))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


if __name__ == "__main__":
    fill(int(sys.argv[1]), int(sys.argv[2]))
else:
    application = get_wsgi_application()
