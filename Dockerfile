# Playhead in a container: built in one stage, run in another as a user without rights, data in a volume.
#   docker build -t playhead .
#   docker run -p 7420:7420 -p 7421:7421 -v playhead:/var/lib/playhead playhead
FROM node:26-bookworm-slim AS build
WORKDIR /playhead
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev

FROM node:26-bookworm-slim
ENV NODE_ENV=production
WORKDIR /playhead
COPY --from=build /playhead/package.json /playhead/LICENSE ./
COPY --from=build /playhead/node_modules ./node_modules
COPY --from=build /playhead/dist ./dist
COPY --from=build /playhead/bin ./bin
COPY --from=build /playhead/console ./console
COPY --from=build /playhead/examples/customer-journey ./examples/customer-journey
RUN mkdir -p /var/lib/playhead && chown node:node /var/lib/playhead && ln -s /playhead/bin/playhead /usr/local/bin/playhead
USER node
VOLUME /var/lib/playhead
EXPOSE 7420 7421
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:7421/readyz').then((reply) => process.exit(reply.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["playhead"]
CMD ["serve", "--data", "/var/lib/playhead", "--host", "0.0.0.0"]
