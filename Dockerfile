# Serves versions that are in the store, with the base install: no framework, so nothing but ONNX is converted here.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/onegate
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY model_store model_store
COPY converters converters
COPY serve serve
RUN /opt/onegate/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt .

FROM python:3.11-slim
# A number, so that Kubernetes can tell that it is not root. Ray and onegate write below /tmp and the store only.
RUN useradd --uid 10001 --create-home onegate \
    && install -d -o onegate -g onegate /config /store
COPY --from=build /opt/onegate /opt/onegate
ENV PATH=/opt/onegate/bin:$PATH \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/onegate
VOLUME /store
# The config must set gateway.host to 0.0.0.0: the default, 127.0.0.1, can't be reached from outside of the container.
EXPOSE 8080 8081
# slim has no curl. The port is the config's default or the environment's.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('ONEGATE_GATEWAY_HTTP_PORT', '8080') + '/v2/health/live', timeout=4)"]
# SIGTERM drains. Give it longer than gateway.drain_timeout_s: docker run --stop-timeout 45.
STOPSIGNAL SIGTERM
ENTRYPOINT ["onegate"]
CMD ["up", "/config/onegate.yaml"]
