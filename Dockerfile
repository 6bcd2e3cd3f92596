# Three images. `docker build .` makes the first of them, `docker build --target train .` and `--target serve .` the others:
#   airflow  Airflow's components and the Spark job, with everything
#   train    one training: python -m include.training; no Airflow
#   serve    the endpoint: /ping and /invocations on 8080; no Airflow
FROM python:3.11-slim-bookworm AS plain
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/opt/evergreen \
    EVERGREEN_DATA=/opt/evergreen/data
# The number is the one that the manifests name (include/platforms/pods.py).
RUN useradd --uid 10001 --create-home evergreen \
    && install -d -o evergreen /opt/evergreen /opt/evergreen/data
WORKDIR /opt/evergreen

FROM plain AS train
COPY requirements-train.txt .
RUN pip install --no-cache-dir -r requirements-train.txt
# SageMaker starts a training image with the one word `train`.
RUN printf '#!/bin/sh\nexec python -u -m include.training\n' > /usr/local/bin/train && chmod 755 /usr/local/bin/train
COPY include include
COPY config config
USER 10001
CMD ["train"]

FROM plain AS serve
COPY requirements-serve.txt .
RUN pip install --no-cache-dir -r requirements-serve.txt
# SageMaker starts a serving image with the one word `serve`, and asks it at this port.
RUN printf '#!/bin/sh\nexec python -m include.serving --host 0.0.0.0 --port 8080\n' > /usr/local/bin/serve \
    && chmod 755 /usr/local/bin/serve
COPY include include
COPY config config
USER 10001
EXPOSE 8080
CMD ["serve"]

FROM apache/airflow:3.3.2-python3.11 AS airflow

USER root
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o airflow -g root /opt/evergreen /opt/evergreen/data
USER airflow

WORKDIR /opt/evergreen
COPY --chown=airflow:root requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt

COPY --chown=airflow:root dags dags
COPY --chown=airflow:root plugins plugins
COPY --chown=airflow:root include include
COPY --chown=airflow:root config config
COPY --chown=airflow:root pyproject.toml .
RUN pip install --no-cache-dir --no-deps --editable .

ENV PYTHONPATH=/opt/evergreen:/opt/evergreen/plugins \
    EVERGREEN_DATA=/opt/evergreen/data \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/evergreen/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/evergreen/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False
VOLUME /opt/evergreen/data
