# Redis from Debian, for machines that reach no registry of images: docker build -t redis:debian -f THIS deploy/debian
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
RUN apt-get update -q && apt-get install -y -q --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
