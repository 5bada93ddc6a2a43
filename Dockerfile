# reid-audit without a network at run time: docs/how-to/container.md says how it is built and run.
# For a build that stays the same give BASE by digest: --build-arg BASE=python@sha256:...
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE} AS build
# cpu: the build of torch without CUDA. cuda: the package index's own, which brings CUDA's libraries.
ARG TORCH=cpu
ARG EXTRAS=dicom
WORKDIR /source
RUN python3 -m venv /opt/reid-audit
RUN case "$TORCH" in \
      cpu) /opt/reid-audit/bin/pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu ;; \
      cuda) /opt/reid-audit/bin/pip install --no-cache-dir torch torchvision ;; \
      *) echo "TORCH is cpu or cuda" >&2; exit 1 ;; \
    esac
COPY pyproject.toml README.md LICENSE ./
COPY reid_audit reid_audit
COPY templates templates
COPY examples/targets examples/targets
RUN /opt/reid-audit/bin/pip install --no-cache-dir ".[$EXTRAS]" && /opt/reid-audit/bin/reid-audit --version

FROM ${BASE}
COPY --from=build /opt/reid-audit /opt/reid-audit
# Nobody in particular; nothing below / is written, what is temporary lies in /tmp.
ENV PATH=/opt/reid-audit/bin:$PATH \
    HOME=/tmp \
    HF_HUB_OFFLINE=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["reid-audit"]
CMD ["--help"]
