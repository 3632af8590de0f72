/** Limits and schedules of the tier of one broker. broker/config.ts offers them to operators. */
import { GiB, MiB } from '../../protocol/limits.ts'

export interface TierSettings {
  /** An active segment is sealed and sent when it is this old: what a lost broker can cost. */
  readonly uploadIntervalMs: number
  /** 0 = no limit. */
  readonly uploadBytesPerSecondMax: number
  /** Of reads from the tier; 0 = no limit. */
  readonly readBytesPerSecondMax: number
  /** Blocks on the local disk. */
  readonly cacheBytes: number
  /** Blocks in memory: what was read, and what is read ahead. */
  readonly memoryBytes: number
  /** Reads of the store at once. */
  readonly requestsMax: number
  /** What no manifest names is removed after this time. */
  readonly orphanGraceMs: number
  /** How long a graceful stop may send. */
  readonly stopWaitMsMax: number
  /** Between two looks at what there is to do. */
  readonly lookMs: number
  /** After a look that failed, the next waits this long, then twice as long, up to the largest. */
  readonly retryMsMin: number
  readonly retryMsMax: number
  /** Between two searches for what nobody names. */
  readonly orphanSearchMs: number
}

export const defaultTierSettings: TierSettings = {
  uploadIntervalMs: 600_000,
  uploadBytesPerSecondMax: 0,
  readBytesPerSecondMax: 0,
  cacheBytes: 1 * GiB,
  memoryBytes: 64 * MiB,
  requestsMax: 16,
  orphanGraceMs: 24 * 3_600_000,
  stopWaitMsMax: 3_000,
  lookMs: 1_000,
  retryMsMin: 1_000,
  retryMsMax: 60_000,
  orphanSearchMs: 3_600_000,
}
