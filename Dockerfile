# Playhead in a container: built in one stage, run in another as a user without rights, data in a volume, everything else read-only.
#   docker build -t playhead .
#   docker run --read-only --tmpfs /tmp -p 127.0.0.1:7420:7420 -p 127.0.0.1:7421:7421 -v playhead:/var/lib/playhead playhead
# The first token is in the volume: docker exec CONTAINER cat /var/lib/playhead/admin.token (docs/operations/security.md). Without TLS only
# publish the ports where nobody can listen in; to try it without tokens: -e PLAYHEAD_SECURITY=off -e PLAYHEAD_ALLOW_INSECURE=everything
FROM node:26-bookworm-slim AS build
WORKDIR /playhead
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev

FROM node:26-bookworm-slim
ENV NODE_ENV=production \
    PLAYHEAD_DATA=/var/lib/playhead \
    PLAYHEAD_HOST=0.0.0.0 \
    PLAYHEAD_SECURITY=on \
    PLAYHEAD_ALLOW_INSECURE=plaintext \
    NODE_COMPILE_CACHE=/tmp/playhead-compile-cache
WORKDIR /playhead
COPY --from=build /playhead/package.json /playhead/LICENSE ./
COPY --from=build /playhead/node_modules ./node_modules
COPY --from=build /playhead/dist ./dist
COPY --from=build /playhead/bin ./bin
COPY --from=build /playhead/console ./console
COPY --from=build /playhead/examples/customer-journey ./examples/customer-journey
RUN install -d -o node -g node -m 0700 /var/lib/playhead && ln -s /playhead/bin/playhead /usr/local/bin/playhead
USER node
VOLUME /var/lib/playhead
EXPOSE 7420 7421
STOPSIGNAL SIGTERM
# Open to everybody, with or without TLS; the certificate is not what is being looked at.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["node", "-e", "process.env.NODE_TLS_REJECT_UNAUTHORIZED='0';const s=process.env.PLAYHEAD_TLS_CERTIFICATE_FILE?'https':'http';fetch(s+'://127.0.0.1:7421/readyz').then((reply) => process.exit(reply.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["playhead"]
CMD ["serve"]
