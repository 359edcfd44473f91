# syntax=docker/dockerfile:1
# The service alone, without torch. The bundle is not in the image: its folder is mounted.
#
#   docker build --tag chajong .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     --publish 127.0.0.1:8000:8000 --volume "$PWD/bundles:/bundles:ro" chajong

FROM python:3.11-slim-bookworm AS build
ENV PIP_CONSTRAINT=/source/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /source
RUN python -m venv /opt/chajong
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
# Compiled here, because the file system is read-only later.
RUN /opt/chajong/bin/pip install --compile '.[serve]' \
    && /opt/chajong/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim-bookworm
COPY --from=build /opt/chajong /opt/chajong
ENV PATH=/opt/chajong/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Nobody's: it owns no file of the image.
USER 65532:65532
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=2).close()"]
ENTRYPOINT ["chajong", "serve"]
CMD ["/bundles/cars.bundle", "--host", "0.0.0.0", "--port", "8000"]
