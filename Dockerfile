# The image of sesamy-mailmojo: one binary and what it loads, run by uid 65532, with its queue in /data.
#
#   docker build -t sesamy-mailmojo .
#   docker run --rm --read-only sesamy-mailmojo demo
#
# The base image is named in its FROM line, where dependabot finds it. To build on another, such as a mirror's:
#   docker build --build-context rust:1.95-bookworm=docker-image://mirror.example.com/rust:1.95-bookworm .

FROM rust:1.95-bookworm AS build
WORKDIR /build

# The dependencies are built with an empty crate, so that this layer is made again only when they change. Cargo wants a
# file for each target that its manifest names; tests and benchmarks are not part of the image, empty ones will do.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir -p src benches/speed tests/chaos \
    && touch src/lib.rs benches/speed/main.rs tests/chaos/main.rs && echo 'fn main() {}' >src/main.rs \
    && cargo build --release --locked \
    && cargo clean --release --locked -p sesamy-mailmojo

# Cargo compares file times, and a checkout may be older than the layer above: that is why the empty crate is cleaned
# away there. The grep fails the build if it were to be shipped all the same. Then what the binary loads is gathered:
# glibc and libgcc, how names are looked up, and whom to trust for HTTPS.
COPY config config
COPY src src
RUN cargo build --release --locked --bin sesamy-mailmojo \
    && target/release/sesamy-mailmojo --help | grep healthcheck \
    && mkdir -p /data /image/usr/local/bin \
    && cp target/release/sesamy-mailmojo /image/usr/local/bin/ \
    && ldd target/release/sesamy-mailmojo | grep -o '/[^ ]*' | xargs -I '{}' cp --parents --dereference '{}' /image \
    && cp --parents --dereference /etc/nsswitch.conf /etc/ssl/certs/ca-certificates.crt /image

# Nothing else is in the image: no shell, no package manager, nothing to log in with.
FROM scratch

LABEL org.opencontainers.image.title="sesamy-mailmojo" \
      org.opencontainers.image.description="Keeps a Mailmojo list in step with Sesamy: a webhook receiver with a durable queue" \
      org.opencontainers.image.licenses="MIT"

COPY --from=build /image /
COPY LICENSE /usr/share/doc/sesamy-mailmojo/LICENSE
COPY config/example.toml /etc/sesamy-mailmojo/example.toml
# A named volume takes its owner from here.
COPY --from=build --chown=65532:65532 /data /data

# The queue's default place, data/sesamy-mailmojo.db, is thus on the volume. Not set as a variable: then nobody could
# set QUEUE__URL_FILE, as both at once are refused. Temporary files go to /data as well: with --read-only nothing else
# can be written.
WORKDIR /
ENV TMPDIR=/data
VOLUME /data

# As numbers, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s CMD ["/usr/local/bin/sesamy-mailmojo", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/sesamy-mailmojo"]
CMD ["serve"]
