# tenantry in an image: one static binary, no shell, no root. The binary is made outside,
# because a toolchain does not belong in it: `.ci/image` does both.
FROM scratch
COPY tenantry /tenantry
USER 65532:65532
# Where the registry is mounted, as docker-compose.yml does.
WORKDIR /registry
ENTRYPOINT ["/tenantry"]
