# One image with all that runs: the program, the page, the SQL, and exactly the packages of requirements.lock.
#   docker build -t pulse-terminal . && docker run --read-only -p 8000:8000 -v pulse-data:/data pulse-terminal
# Any Debian or Ubuntu whose Python is 3.11 or later can be the base: --build-arg BASE=debian:trixie-slim
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends ca-certificates python3 >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*

FROM python AS build
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
WORKDIR /build
COPY requirements.lock ./
# An index or a certificate authority of one's own comes in by secrets, which leave nothing in the image:
#   --secret id=pip_config,src=pip.conf --secret id=ca_bundle,src=ca.crt   (with cert = /run/secrets/ca_bundle in it)
# pip stays outside of the environment that it fills.
RUN --mount=type=secret,id=pip_config,target=/etc/pip.conf --mount=type=secret,id=ca_bundle \
    python3 -m venv pip && python3 -m venv --without-pip /opt/pulse \
 && pip/bin/pip --python /opt/pulse/bin/python install -q --no-cache-dir --disable-pip-version-check \
      --only-binary :all: --require-hashes -r requirements.lock
COPY LICENSE /opt/pulse/app/
COPY pulse /opt/pulse/app/pulse
COPY static /opt/pulse/app/static
COPY sql /opt/pulse/app/sql
COPY deploy/healthcheck.py /opt/pulse/app/deploy/
# The root file system may be read-only, so what Python would write at the first start is written here.
RUN echo /opt/pulse/app > "$(/opt/pulse/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/app.pth" \
 && /opt/pulse/bin/python -m compileall -q /opt/pulse/app

FROM python
LABEL org.opencontainers.image.title="Pulse Terminal" \
      org.opencontainers.image.description="A self-hosted crypto market terminal whose numbers can be trusted" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 pulse \
 && useradd --uid 10001 --gid pulse --no-create-home --home-dir /data --shell /usr/sbin/nologin pulse \
 && install -d -o pulse -g pulse -m 0750 /data
COPY --from=build /opt/pulse /opt/pulse
# Without the safe path, Python would look for modules in the working directory, where the program writes.
ENV PATH=/opt/pulse/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PULSE_HOST=0.0.0.0
# SQLite file, spool and state have relative names: everything that is written is here.
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-I", "/opt/pulse/app/deploy/healthcheck.py"]
ENTRYPOINT ["python", "-m", "pulse"]
