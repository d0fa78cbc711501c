# syntax=docker/dockerfile:1
# The image of the server and the command line: `docker build -t handoff .`. It has no shell, runs as a
# user without rights, and writes to /data alone, so its root may be read-only. See deploy/README.md.

# The compiler that rust-toolchain.toml names, on the Debian that the second image is of.
FROM rust:1.95.0-slim-trixie AS build
WORKDIR /src
COPY . .
# What is downloaded and compiled stays with the builder, so that a change is built in a minute or two.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --release --package handoff \
    && install -D --strip target/release/handoff /image/usr/local/bin/handoff \
    && install -D --mode=0644 LICENSE /image/usr/share/doc/handoff/LICENSE \
    && mkdir /data

FROM gcr.io/distroless/cc-debian13:nonroot
LABEL org.opencontainers.image.title="Handoff" \
    org.opencontainers.image.description="Runs end-to-end tests, written as WebAssembly components, against deployed systems" \
    org.opencontainers.image.source="https://github.com/handoff-tests/handoff" \
    org.opencontainers.image.documentation="https://github.com/handoff-tests/handoff/tree/main/deploy" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
COPY --from=build --chown=65532:65532 /data /data
# There is no authentication: publish the port to whom you trust, or put a proxy in front.
ENV HANDOFF_LISTEN=0.0.0.0:1337 \
    HANDOFF_DATA_DIR=/data
VOLUME /data
EXPOSE 1337
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/handoff", "health"]
ENTRYPOINT ["/usr/local/bin/handoff"]
CMD ["serve"]
