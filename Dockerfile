# One image for every part of Evergreen: Airflow's components, the Spark job, the training process, the endpoint.
FROM apache/airflow:3.3.2-python3.11

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
