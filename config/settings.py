"""Django settings. Settings that differ between machines come from the environment (see docs/settings.md)."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

import django_stubs_ext
from csp.constants import NONE, SELF
from django.conf import global_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import to_locale

from annotation.logic import group_roles
from config import error_reports, schedule
from config.embedded import Embedded
from config.environment import Environment
from config.log_settings import logging_settings
from config.proxies import parse_networks
from config.redis_urls import redis_urls
from training.launch.scheduler import Scheduler, read_scheduler

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()
env.read_env(BASE_DIR / ".env")
# what libraries and the training program read themselves
AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
OTHER_KEYS = ("PALATE_API_KEY", "HF_TOKEN", "WANDB_API_KEY")
env.export(*AWS_KEYS, *OTHER_KEYS)

# --- paths -----------------------------------------------------------------------------------------------------
VAR = Path(env.str("PALATE_VAR", default=str(BASE_DIR / "var"))).resolve()
VAR.mkdir(parents=True, exist_ok=True)
# job directories, and the store unless it is elsewhere
ARTIFACTS = Path(env.str("ARTIFACTS", default=str(VAR / "artifacts"))).resolve()
# what web and workers exchange: a folder below ARTIFACTS, another folder, or a bucket
ARTIFACT_STORE: str = env.str("ARTIFACT_STORE", default="")
if ARTIFACT_STORE and not re.fullmatch(r"s3://[^/]+(/.*)?|file:///.+", ARTIFACT_STORE):
    raise ImproperlyConfigured(
        f"ARTIFACT_STORE is {ARTIFACT_STORE!r}; it may be s3://bucket/prefix or file:///folder."
    )
# the most that copies of a bucket's objects take up on this machine
ARTIFACT_CACHE_GB = env.float("ARTIFACT_CACHE_GB", default=50)

# --- servers: embedded by default -----------------------------------------------------------------------------
embedded_servers = Embedded(VAR, durable=env.bool("EMBEDDED_DURABLE", default=True))
EMBEDDED = (
    embedded_servers
    if not (env.str("DATABASE_URL", default="") and env.str("REDIS_URL", default=""))
    else None
)

DATABASES = {"default": env.db_url("DATABASE_URL", default=embedded_servers.database_url)}
DATABASES["default"]["ENGINE"] = "config.postgresql"
DATABASES["default"]["PASSWORD"] = (
    env.str("DATABASE_PASSWORD", default="") or DATABASES["default"]["PASSWORD"]
)
# prepared statements for the annotators' queries; None: unless a pooler stands before the database
DATABASE_PREPARE: bool | None = env.bool("DATABASE_PREPARE", default=None)
DATABASES["default"]["OPTIONS"] = {
    "pool": {"min_size": 1, "max_size": env.int("DATABASE_POOL", default=16), "timeout": 20},
    "prepare_threshold": None if DATABASE_PREPARE is False else 5,
}
# per web process, for the annotators' requests: few threads contend less than many
WORK_THREADS = env.int("WORK_THREADS", default=4)
REDIS_URL = env.str("REDIS_URL", default=embedded_servers.redis_url)
try:
    REDIS = redis_urls(REDIS_URL)
except ValueError as error:
    raise ImproperlyConfigured(str(error)) from None

CACHES = {"default": {"BACKEND": "config.cache.FailSoftCache", "LOCATION": REDIS.cache}}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS.live]},
    }
}

# where the answers of live chats stand while they are written
CHAT_STREAM_URL = REDIS.cache

# --- security -------------------------------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])


def load_or_create_secret() -> str:
    """A secret per machine, created on first use. Several web machines need SECRET_KEY in the environment."""
    path = VAR / "secret_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(50))
    return path.read_text()


SECRET_KEY = env.str("SECRET_KEY", default="") or load_or_create_secret()
HTTPS = env.bool("HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
try:
    TRUSTED_PROXIES = parse_networks(env.list("TRUSTED_PROXIES", default=[]))
except ValueError as error:
    raise ImproperlyConfigured(str(error)) from None
X_FRAME_OPTIONS = "DENY"
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 2**20
# whether webhooks may be sent to private network addresses
WEBHOOKS_TO_PRIVATE: bool = env.bool("WEBHOOKS_TO_PRIVATE", default=False)
# whether pictures in texts may be fetched from there
IMAGES_FROM_PRIVATE: bool = env.bool("IMAGES_FROM_PRIVATE", default=False)
# what leads may name in runs: folders with models, servers that generate, servers that sample with a run's weights, and Python
# functions that score responses
MODEL_DIRS: list[str] = [
    *env.list("MODEL_DIRS", default=[]),
    str(BASE_DIR / "training/demo/models"),  # small ones to try the site with
]
HF_ENDPOINT: str = env.str("HF_ENDPOINT", default="https://huggingface.co")  # read by the core's library too
HF_HUB_OFFLINE: bool = env.bool("HF_HUB_OFFLINE", default=False)
MODEL_SERVERS: list[str] = env.list("MODEL_SERVERS", default=[])
SAMPLER_SERVERS: list[str] = env.list("SAMPLER_SERVERS", default=[])
# where both trainers and these servers see the weights; empty: the run's job directory
SAMPLER_DIR: str = env.str("SAMPLER_DIR", default="")
REWARD_FUNCTIONS: list[str] = env.list("REWARD_FUNCTIONS", default=[])
# per token or signed-in user; 0 means unlimited
API_CALLS_PER_MINUTE = env.int("API_CALLS_PER_MINUTE", default=6000)
MAX_IMPORT_BYTES = env.int("MAX_IMPORT_BYTES", default=200 * 2**20)
# files uploaded on the Import page, which are read in the background
MAX_UPLOAD_BYTES = env.int("MAX_UPLOAD_BYTES", default=2 * 2**30)

# --- the application ------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "axes",
    "channels",
    "csp",
    "django_htmx",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "template_partials",
    "annotation",
    "training",
]
MIDDLEWARE = [
    "config.health.HealthChecks",
    "config.metrics.Metrics",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "config.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "annotation.middleware.UserLocale",
    "annotation.middleware.RequireSecondFactor",
    "axes.middleware.AxesMiddleware",
]
# Scripts and styles are files of this site: no page has any of its own, so none that a text could smuggle in is run.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "worker-src": [SELF],
        "form-action": [SELF],
        "img-src": [SELF, "data:"],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
PERMISSIONS_POLICY: dict[str, list[str]] = {
    name: []
    for name in ("camera", "display-capture", "geolocation", "microphone", "payment", "serial", "usb", "midi")
}
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["django.templatetags.i18n", "annotation.templatetags.labels"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.context.sign_in_settings",
            ],
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = env.str("LANGUAGE_CODE", default="en")
LOCALE_PATHS = [BASE_DIR / "locale"]
# English, and each language whose translations are compiled
LANGUAGES = [
    (code, name)
    for code, name in global_settings.LANGUAGES
    if code == "en" or (BASE_DIR / "locale" / to_locale(code) / "LC_MESSAGES" / "django.mo").exists()
]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static", ("help", BASE_DIR / "docs/pictures")]
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(VAR / "static"))).resolve()
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# collected: compressed and with hashed names, so that browsers can cache them for ever
STATIC_COLLECTED = env.bool("STATIC_COLLECTED", default=False)
WHITENOISE_USE_FINDERS = not STATIC_COLLECTED
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "config.static_files.StaticFilesStorage"
        if STATIC_COLLECTED
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# --- signing in -----------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "annotation.User"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "account_login"
PASSWORD_RESET_TIMEOUT = 24 * 3600
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "annotation.backends.AccountBackend"]
ACCOUNT_ADAPTER = "annotation.sign_in.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {
    "login": None
}  # `sign_in_limits` counts wrong passwords; right ones of a whole office are many
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_VERIFICATION = "none"  # of addresses that others entered; a changed one is confirmed by a link
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_METHODS = ["password", "mfa"]
ACCOUNT_FORMS = {
    "reset_password": "annotation.sign_in.ResetForm",
    "add_email": "annotation.sign_in.AddAddressForm",
}
ACCOUNT_LOGIN_TIMEOUT = 300  # from the password to the code
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "annotation.actions.passwords.ResetTokens"  # noqa: S105
# second factors: "off", "optional", or "required" of everybody who signs in with a password
MFA: str = env.str("MFA", default="off")
if MFA not in ("off", "optional", "required"):
    raise ImproperlyConfigured(f"MFA is {MFA!r}; it may be off, optional or required.")
MFA_ADAPTER = "annotation.sign_in.MfaAdapter"
MFA_ALLOW_UNVERIFIED_EMAIL = True  # accounts are not made by addresses
MFA_TOTP_TOLERANCE = 1  # clocks of phones are off by up to half a minute
# single sign-on by OpenID Connect
OIDC_URL: str = env.str("OIDC_URL", default="")
OIDC_NAME: str = env.str("OIDC_NAME", default="single sign-on")
OIDC_GROUPS_CLAIM: str = env.str("OIDC_GROUPS_CLAIM", default="groups")
try:
    OIDC_ROLES = group_roles.parse(env.list("OIDC_ROLES", default=[]))
except ValueError as error:
    raise ImproperlyConfigured(str(error)) from None
OIDC_SESSION_HOURS = env.float("OIDC_SESSION_HOURS", default=12)
if OIDC_SESSION_HOURS <= 0:
    raise ImproperlyConfigured("OIDC_SESSION_HOURS is a number of hours above 0.")
SOCIALACCOUNT_ADAPTER = "annotation.sign_in.SocialAccountAdapter"
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "APPS": [
            {
                "provider_id": "oidc",
                "name": OIDC_NAME,
                "client_id": env.str("OIDC_CLIENT_ID", default=""),
                "secret": env.str("OIDC_CLIENT_SECRET", default=""),
                "settings": {
                    "server_url": OIDC_URL,
                    "scope": env.list("OIDC_SCOPES", default=["openid", "profile", "email"]),
                    "oauth_pkce_enabled": True,
                },
            }
        ]
        if OIDC_URL
        else []
    }
}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AXES_HANDLER = "config.sign_in_limits.SignInLimits"
AXES_USERNAME_CALLABLE = "config.sign_in_limits.account_name"
AXES_CLIENT_IP_CALLABLE = "config.proxies.client_network"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], "username", "ip_address"]
AXES_FAILURE_LIMIT = 10  # of the first; `sign_in_limits` has those of the others
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_TEMPLATE = "locked_out.html"
AXES_RESET_ON_SUCCESS = False  # `sign_in_limits` does

# --- e-mail ---------------------------------------------------------------------------------------------------
EMAIL_ENABLED: bool = bool(env.str("EMAIL_URL", default=""))
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
EMAIL_TIMEOUT = 20
# for the links in e-mails that no request asked for
SITE_URL: str = env.str("SITE_URL", default="")
DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", default="palate@localhost")

# --- the API --------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "annotation.api.authentication.ApiTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "annotation.api.authentication.TokenScopePermission",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["annotation.api.throttling.CallerThrottle"],
    "DEFAULT_PARSER_CLASSES": ["annotation.api.parsers.JsonParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "annotation.api.errors.handle_exception",
    # `?format=` selects an export format, not a renderer
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Palate",
    "DESCRIPTION": "Import prompts and responses, export preferences, start runs and follow them.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "TAGS": [
        {"name": "projects", "description": "Projects, their guidelines, and agreement."},
        {
            "name": "people",
            "description": "Members, invitations, and the audit trail.",
        },
        {"name": "prompts", "description": "Importing prompts and responses, and the queue of items."},
        {"name": "queue", "description": "Claiming and judging items, for people and scripts."},
        {"name": "chats", "description": "Live chats: messages, their two answers, and the choice."},
        {"name": "judgments", "description": "Current judgments."},
        {"name": "snapshots", "description": "Immutable snapshots of judgments."},
        {"name": "models", "description": "Model versions and their lineage."},
        {"name": "runs", "description": "Training runs: start, follow, stop, resume."},
        {"name": "rounds", "description": "Rounds of the training loop."},
        {"name": "webhooks", "description": "Notifications of project events."},
    ],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "annotation.api.schema.add_common_responses",
    ],
    "ENUM_NAME_OVERRIDES": {
        "ItemState": "annotation.models.Item.State",
        "Account": "annotation.models.User.Account",
    },
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- background work ------------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS.broker
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600, "health_check_interval": 25}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = schedule.ROUTES
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE = schedule.PERIODIC
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR / "celerybeat-schedule")
# interval of a run's heartbeat, and after how long without one it counts as dead
RUN_HEARTBEAT_S = env.float("RUN_HEARTBEAT_S", default=2.0)
RUN_STALE_S = env.float("RUN_STALE_S", default=15.0)
# messages of chats that one worker answers at once
CHATS_AT_ONCE = env.int("CHATS_AT_ONCE", default=16)
# seconds between uploads of a run's checkpoints, where workers do not share their job directories
CHECKPOINT_UPLOAD_S = env.float("CHECKPOINT_UPLOAD_S", default=60.0)
# processes per run, one per accelerator; several are started with torchrun
TRAINER_PROCESSES = env.int("TRAINER_PROCESSES", default=1)
# GPUs of this machine, which its runs share; 0: runs are given none
GPUS = env.int("GPUS", default=0)
GPU_HOUR_PRICE: float = env.float("GPU_HOUR_PRICE", default=0.0)  # for estimates; 0: none are shown
if GPU_HOUR_PRICE < 0:
    raise ImproperlyConfigured("GPU_HOUR_PRICE is a price of 0 or more.")
CURRENCY: str = env.str("CURRENCY", default="USD")
FORK_SERVER: str = env.str("FORK_SERVER", default="")  # the socket of `python -m training.core.fork_server`
# models that answer in chats on this machine: how many at once, how long one stays without being used, and with how many threads
# each computes (0: as many as there are cores); the GPUs that they share, where runs have GPUs for themselves
CHAT_MODELS_LOADED = env.int("CHAT_MODELS_LOADED", default=4)
CHAT_IDLE_S = env.float("CHAT_IDLE_S", default=300.0)
CHAT_THREADS = env.int("CHAT_THREADS", default=0)
CHAT_GPUS: list[str] = env.list("CHAT_GPUS", default=[])
# a file with the commands of a cluster's scheduler; without it, runs are child processes of their workers
try:
    LAUNCHER: Scheduler | None = read_scheduler(Path(path)) if (path := env.str("LAUNCHER", "")) else None
except ValueError as error:
    raise ImproperlyConfigured(str(error)) from None

# seconds without progress after which an open run is reported to be stuck
RUN_STUCK_S = env.float("RUN_STUCK_S", default=1800)

# --- watching the site ----------------------------------------------------------------------------------------
# what is deployed, such as an image's tag: in metrics and error reports
RELEASE: str = env.str("RELEASE", default="")
METRICS_TOKEN: str = env.str("METRICS_TOKEN", default="")
METRICS_DIR = Path(env.str("METRICS_DIR", default=str(VAR / "metrics")))
if METRICS_TOKEN:
    METRICS_DIR.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(METRICS_DIR)
SENTRY_DSN: str = env.str("SENTRY_DSN", default="")
if SENTRY_DSN:
    error_reports.start(SENTRY_DSN, RELEASE)
LOG_FORMAT: str = env.str("LOG_FORMAT", default="line")
if LOG_FORMAT not in ("line", "json"):
    raise ImproperlyConfigured(f"LOG_FORMAT is {LOG_FORMAT!r}; it may be line or json.")
LOGGING = logging_settings(LOG_FORMAT, level=env.str("LOG_LEVEL", default="INFO"))
