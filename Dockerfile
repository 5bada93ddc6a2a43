# reid-audit without a network at run time: docs/how-to/container.md says how it is built and run.
ARG BASE=python:3.12-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254
FROM ${BASE} AS build
# cpu: the build of torch without CUDA. cuda: the package index's own, which brings CUDA's libraries.
ARG TORCH=cpu
# Where the build without CUDA is had; a house without the internet names its own mirror.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=dicom
WORKDIR /source
RUN python3 -m venv /opt/reid-audit
RUN case "$TORCH" in \
      cpu) /opt/reid-audit/bin/pip install --no-cache-dir torch torchvision --index-url "$TORCH_INDEX" ;; \
      cuda) /opt/reid-audit/bin/pip install --no-cache-dir torch torchvision ;; \
      *) echo "TORCH is cpu or cuda" >&2; exit 1 ;; \
    esac
COPY pyproject.toml README.md LICENSE ./
COPY reid_audit reid_audit
COPY templates templates
COPY examples/targets examples/targets
RUN /opt/reid-audit/bin/pip install --no-cache-dir ".[$EXTRAS]"
# Of torch what compilers and its own tests use is left out, 0.2 GB. Then a network is read, so that no image is made
# in which torch and torchvision do not fit each other.
RUN find /opt/reid-audit/lib -regex '.*/site-packages/torch/\(include\|test\)' -prune -exec rm -r {} + \
    && find /opt/reid-audit/lib -path '*/site-packages/torch/bin/*' ! -name torch_shm_manager -delete \
    && /opt/reid-audit/bin/reid-audit inspect examples/targets/cnn.safetensors

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
