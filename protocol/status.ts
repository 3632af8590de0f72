/** status: what the broker process is and what it uses. */
import { int, list, struct, text } from './header-schema.ts'

export const statusRequest = struct({})
export const statusReply = struct({
  /** Of the broker's software. */
  release: text(64),
  clusterId: text(64),
  brokerId: int(),
  dataDirectory: text(4096),
  uptimeMs: int(),
  /** Process CPU time so far, user and system. */
  cpuMs: int(),
  /** Memory resident. */
  rssBytes: int(),
  connections: int(),
  topics: int(),
  partitions: int(),
  /** Of all segment files. */
  logBytes: int(),
  /** What is damaged or failing, in words; empty when all is well. */
  problems: list(text(4096), 1000),
})
