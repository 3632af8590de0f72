/** hello: the first request on every connection. Tells who is there and what the broker allows. */
import { int, later, list, optional, struct, text } from './header-schema.ts'

export const helloRequest = struct({
  /** Free text for logs and metrics, e.g. `playhead-cli/0.1.0`. */
  client: text(256),
  /** The versions of frame and hello that the client speaks, both ends inclusive. */
  minVersion: int(),
  maxVersion: int(),
  /** A bearer token, where security is on; without one, `authenticate` comes next. */
  credentials: optional(text(16 * 1024)),
})

export const helloReply = struct({
  /** Of frame and hello, as spoken on this connection from here on. */
  version: int(),
  clusterId: text(64),
  brokerId: int(),
  /** The largest frame the broker accepts, length field excluded. */
  frameBytesMax: int(),
  /** Requests of one connection that may be unanswered; beyond, the broker stops reading from it. */
  inFlightRequestsMax: int(),
  /** The same, in bytes of their frames. */
  inFlightBytesMax: int(),
  /** A retry within this many batches of one producer and partition is answered with the original result. */
  dedupeBatches: int(),
  /** Apis and the versions of each that this broker serves. */
  apis: list(struct({ api: int(0, 255), minVersion: int(0, 255), maxVersion: int(0, 255) }), 256),
  /** Absent = nothing is wanted from this connection; else the mechanisms that `authenticate` takes, before anything else is answered. */
  authentication: later(list(text(64), 16)),
})
