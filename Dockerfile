# Image of mission-control-runtime, and with --target sandbox that of the demo; see
# docs/docker-compose.md. It builds with BuildKit and with the
# legacy builder, so it uses only features that both support.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update -qq -o Acquire::Retries=3 \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Acquire::Retries=3 gcc libc6-dev make pkg-config libcurl4-openssl-dev libjansson-dev \
        libmicrohttpd-dev libssl-dev libcmocka-dev ca-certificates \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The version label cannot be read from a file, so check here that the two agree.
ARG VERSION=0.2.0
RUN test "$(cat VERSION)" = "$VERSION" \
    || { echo "VERSION says $(cat VERSION), but ARG VERSION in the Dockerfile is $VERSION" >&2; exit 1; }
ARG REVISION=
RUN make -j"$(nproc)" WERROR=1 COMMIT="$(printf %.12s "$REVISION")" all
# The make target that must pass: check-unit, check (all tests; takes minutes), or empty for none.
ARG CHECK=check-unit
RUN if [ -n "$CHECK" ]; then make -j"$(nproc)" "$CHECK"; fi
RUN strip build/mission-control-runtime build/mission-control-sandbox

FROM ${BASE} AS runtime
# The workspaces have the same path and owner in the gateway's image: a new volume gets them from whichever
# container starts first.
RUN apt-get update -qq -o Acquire::Retries=3 \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Acquire::Retries=3 ca-certificates libcurl4 libjansson4 libmicrohttpd12 \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /usr/share/doc/* /usr/share/man/* \
    && echo 'mission-control:x:10001:' >>/etc/group \
    && echo 'mission-control:x:10001:10001::/var/lib/mission-control-runtime:/usr/sbin/nologin' \
        >>/etc/passwd \
    && install -d -m 0700 -o 10001 -g 10001 /var/lib/mission-control-runtime /run/mission-control \
    && install -d -o 10001 -g 10001 /home/openclaw/workspace
COPY --from=build /source/build/mission-control-runtime /usr/local/bin/

ARG VERSION=0.2.0
ARG REVISION=
ARG BASE
LABEL org.opencontainers.image.base.name="${BASE}" \
    org.opencontainers.image.title="mission-control-runtime" \
    org.opencontainers.image.description="Delivers notifications from a Mission Control board to agents behind an OpenClaw gateway and posts their replies" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"

ENV STATE_DIR=/var/lib/mission-control-runtime HEALTH_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/mission-control-runtime
VOLUME /var/lib/mission-control-runtime
EXPOSE 3001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=2s --timeout=10s --retries=15 \
    CMD ["/usr/local/bin/mission-control-runtime", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/mission-control-runtime"]

# The demo's image: docker build --target sandbox. The last stage is what a build without it makes.
FROM runtime AS sandbox
COPY --from=build /source/build/mission-control-sandbox /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/mission-control-sandbox"]

FROM runtime
