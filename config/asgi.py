"""The web process: pages over HTTP, live progress over WebSocket."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# streams of answers wait this long for each of their steps while threads compute pages (Python's own: 5 ms)
sys.setswitchinterval(0.001)
django_asgi, django_wsgi = get_asgi_application(), get_wsgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402  (models must be ready first)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402

from annotation.middleware import RequireSecondFactorOfSockets  # noqa: E402
from config.body_limits import BodyLimit  # noqa: E402
from config.proxies import TrustedProxies  # noqa: E402
from config.request_ids import RequestIds  # noqa: E402
from config.wsgi_pool import WsgiPool  # noqa: E402
from training.websocket_urls import websocket_urlpatterns  # noqa: E402

sockets = RequireSecondFactorOfSockets(URLRouter(websocket_urlpatterns))
site: Any = ProtocolTypeRouter(
    {
        "http": BodyLimit(WsgiPool(django_wsgi, django_asgi, settings.WORK_THREADS)),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(sockets)),
    }
)
application = RequestIds(TrustedProxies(site, settings.TRUSTED_PROXIES))
