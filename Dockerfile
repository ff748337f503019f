# The image of tidewait: one static program and the certificates of public authorities, and nothing else.
#
#   make image                                   with docker, podman or buildah, whichever is there
#   docker build --tag tidewait .                builds the program in a container first
#   docker build --tag tidewait --build-arg PROGRAM=prebuilt FOLDER
#                                                takes FOLDER/tidewait and FOLDER/ca-certificates.crt: no base image is
#                                                needed (deploy/image/context makes that folder)
#   docker buildx build --platform linux/amd64,linux/arm64 .     for several architectures

# Where the program comes from: a stage below.
ARG PROGRAM=compiled

# Runs as the architecture that it builds for. glibc, linked statically: as fast as where it was tested.
FROM docker.io/library/rust:1.95-bookworm AS compiled
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ARG TARGETARCH
# One cache for each architecture: they may be built at once.
RUN --mount=type=cache,id=tidewait-$TARGETARCH,target=/source/target \
    cargo rustc --locked --profile image --bin tidewait -- -C target-feature=+crt-static -C strip=symbols && \
    mkdir /out && cp target/image/tidewait /etc/ssl/certs/ca-certificates.crt /out

FROM scratch AS prebuilt
COPY tidewait ca-certificates.crt /out/

FROM ${PROGRAM} AS program

FROM scratch
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tidewait" \
    org.opencontainers.image.description="Parks describe requests and answers all of them the moment the model changes" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
COPY --from=program /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=program /out/tidewait /tidewait
# A number, so that runAsNonRoot can be checked.
USER 65532:65532
EXPOSE 8480 8481
ENTRYPOINT ["/tidewait"]
