# One image for coordinator and worker (docker-compose.yml says which runs); linux/amd64, TensorFlow for CPUs, or, with
# --build-arg SETUP=--cuda, for NVIDIA GPUs.

FROM node:24-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/lockstep/app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build
# TensorFlow goes to a folder that the addon remembers, so it must lie at the same path in the image that runs.
ARG SETUP=""
RUN LOCKSTEP_CACHE_DIR=/opt/lockstep/native node dist/apps/coordinator/src/cli/main.js setup $SETUP
RUN npm prune --omit=dev

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    LOCKSTEP_CACHE_DIR=/var/lib/lockstep/cache \
    LOCKSTEP_DATA_DIR=/var/lib/lockstep/data
# Volumes that are mounted here take over this owner.
RUN install --directory --owner=node --group=node /var/lib/lockstep/cache /var/lib/lockstep/data
WORKDIR /opt/lockstep/app
COPY --from=build /opt/lockstep/native /opt/lockstep/native
COPY --from=build /opt/lockstep/app/package.json ./
COPY --from=build /opt/lockstep/app/node_modules node_modules
COPY --from=build /opt/lockstep/app/dist dist
COPY --from=build /opt/lockstep/app/scripts/lockstep.mjs scripts/lockstep.mjs
COPY --from=build /opt/lockstep/app/libs/model/native libs/model/native
COPY LICENSE THIRD_PARTY_LICENSES.md ./
USER node
CMD ["node", "dist/apps/coordinator/src/main.js"]
