# t2igan on NVIDIA GPUs, from hash-checked pins. The host needs a driver for CUDA 12.
#   docker build --tag=t2igan .
#   docker run --rm --gpus=all --volume="$PWD:/work" t2igan train --config=configs/tiny.py ...
FROM python:3.11-slim
WORKDIR /t2igan
COPY scripts/requirements-cuda12.txt scripts/
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement scripts/requirements-cuda12.txt
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY input_pipeline input_pipeline
COPY t2igan t2igan
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
WORKDIR /work
ENTRYPOINT ["t2igan"]
