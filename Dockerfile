# kvb-admin as an image: docs/howto/run-in-containers.md.
#
#     docker build --build-arg VERSION=1.2.3 --tag kvb-admin:v1.2.3 .
#
# By its digest: a tag is another image tomorrow. It is Debian 12, as hosts have it.
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm@sha256:b18992999dbe963a45a8a4da40ac2b1975be1a776d939d098c647482bcad5cba

FROM ${PYTHON} AS build
# Without pip in it: it never has anything else than what requirements.txt pins. Wheels alone, so
# that nothing is compiled and no code of a package runs here.
RUN python -m venv --without-pip /opt/venv
COPY requirements.txt /app/
RUN python -m pip --python /opt/venv/bin/python install --no-cache-dir \
        --disable-pip-version-check --only-binary :all: --require-hashes \
        --requirement /app/requirements.txt
COPY manage.py /app/
COPY kvb /app/kvb
COPY deploy_ops /app/deploy_ops
# The root is read-only later, so that Python could not do it then.
RUN python -m compileall -q /app

# What is in the virtualenv, as CycloneDX. Not part of the application:
#     docker build --target sbom --output . .
FROM build AS inventory
RUN python -m pip install --no-cache-dir --disable-pip-version-check cyclonedx-bom==7.5.0 \
    && cyclonedx-py environment --output-file /kvb-admin.cdx.json /opt/venv/bin/python
FROM scratch AS sbom
COPY --from=inventory /kvb-admin.cdx.json /

FROM ${PYTHON} AS application
ARG VERSION
# Of what it is built, so that predeploy knows whether CI speaks of this code. None where nobody says.
ARG COMMIT=""
# pg_dump and pg_restore make and read backups. Not by their exact version: Debian keeps only the
# newest, so that next week's build would fail.
# hadolint ignore=DL3008
RUN test -n "${VERSION}" \
    && apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client-15 \
    && rm -rf /var/lib/apt/lists/* \
    && python -m pip uninstall --yes pip setuptools wheel
# By number, so that volumes and Kubernetes know who it is without reading /etc/passwd. A new volume
# takes owner and mode of the directory that it is put on.
RUN groupadd --gid 10001 kvb \
    && useradd --uid 10001 --gid kvb --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin kvb \
    && install --directory --owner kvb --group kvb --mode 0700 \
        /var/lib/kvb-admin /var/lib/kvb-admin/media /var/backups/kvb-admin \
    && install --directory --owner kvb --group kvb --mode 0755 \
        /srv/kvb-admin/static /run/kvb-admin
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
# Kamal deploys no image without the label `service`.
LABEL org.opencontainers.image.title="kvb-admin" \
    org.opencontainers.image.version="${VERSION}" \
    service="kvb-admin"
# Where things lie is as on a host. What is secret is given when it starts, as files:
# SECRET_KEY_FILE, DATABASE_URL_FILE.
ENV PATH=/opt/venv/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=kvb.app.settings_prod \
    APP_VERSION=${VERSION} \
    APP_COMMIT=${COMMIT} \
    KVB_DATA_DIR=/var/lib/kvb-admin \
    STATIC_ROOT=/srv/kvb-admin/static \
    DEPLOY_OPS_BACKUP_DIR=/var/backups/kvb-admin/deploy_ops \
    DEPLOY_OPS_DRAIN_FILE=/tmp/drain
WORKDIR /app
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=8s --start-period=20s \
    CMD ["python", "manage.py", "health", "--url", "http://127.0.0.1:8000/health/"]
# It never migrates: that is done once for all instances, before them.
CMD ["gunicorn", "kvb.app.wsgi", "--config", "kvb/app/gunicorn.conf.py", "--bind", "0.0.0.0:8000"]
