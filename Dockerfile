# Both stages must have the same Python at the same path. A release passes the image by digest.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements/base.txt requirements/build.txt requirements/
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY .ci/build-venv .ci/build-venv
COPY webhook webhook
RUN .ci/build-venv /opt/spot-balancer

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="spot-balancer" \
      org.opencontainers.image.description="Idle pods to spot nodes and back, by a mutating webhook fed from Prometheus" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/spot-balancer /opt/spot-balancer
ENV PATH=/opt/spot-balancer/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# A number, so that the kubelet can tell that it is not root.
USER 65532:65532
WORKDIR /tmp
EXPOSE 8443 9090
# Probes are the kubelet's, so there is no HEALTHCHECK.
ENTRYPOINT ["spot-balancer"]
