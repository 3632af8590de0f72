/** Limits and schedules of the storage of one broker. broker/config.ts offers those that an operator should turn. */
import { KiB, MiB } from '../protocol/limits.ts'

export interface StorageSettings {
  /** Memory of stream indexes before they are flushed to the cache, over all logs. */
  readonly indexMemoryBytes: number
  /** Newest batches kept in memory for tail readers, over all logs. */
  readonly tailCacheBytes: number
  /** The same for one log. */
  readonly tailCacheBytesPerLog: number
  /** Read for consumers who go through a log before they ask, over all logs; 0 = nothing. */
  readonly readAheadBytes: number
  /** Appends of one log that wait for room, decompression or a cold stream; more are refused as overloaded. */
  readonly waitingAppendsMax: number
  readonly waitingAppendBytesMax: number
  /** Most bytes in one write and sync of a log. */
  readonly groupBytesMax: number
  /** Batches of one log taken in and not handed to the file yet; appends wait above it. */
  readonly pendingBytesMax: number
  /** Largest size that a compressed batch may have once decompressed. */
  readonly decompressedBytesMax: number
  /** Records of compressed batches that are decompressed at once, over all logs; who would go above waits. */
  readonly decompressionBytesTotalMax: number
  /** Zeros written ahead of the write position: first step and largest step. */
  readonly allocationBytesMin: number
  readonly allocationBytesMax: number
  /** After the disk was full, this long nothing is tried that needs as much room: appends hear at once that it is full. */
  readonly diskFullPauseMs: number
  /** A log that has had no append for this long writes down what it knows to be durable. */
  readonly idleFloorMs: number
  /** Derived state of a log is saved after this time, or this many bytes appended, whichever is first. */
  readonly checkpointIntervalMs: number
  readonly checkpointBytes: number
  /** After a save that failed, the next waits this long, then twice as long, up to the largest. */
  readonly saveRetryMsMin: number
  readonly saveRetryMsMax: number
  /** Between two looks for what retention and compaction may remove. */
  readonly cleanIntervalMs: number
  /** Sealed segments kept open for reading, over all logs. */
  readonly openSegmentsMax: number
  /** Partitions of all topics together, but for Playhead's own; a topic that would go above is not made. */
  readonly partitionsTotalMax: number
  /** Producers remembered per log, the least recent forgotten first; named ones are never forgotten. */
  readonly producersMax: number
  /** Events of a stream looked at in one call that filters them by time. */
  readonly examinedEventsMax: number
}

export const defaultStorageSettings: StorageSettings = {
  indexMemoryBytes: 128 * MiB,
  tailCacheBytes: 64 * MiB,
  tailCacheBytesPerLog: 16 * MiB,
  readAheadBytes: 32 * MiB,
  waitingAppendsMax: 10_000,
  waitingAppendBytesMax: 128 * MiB,
  groupBytesMax: 8 * MiB,
  pendingBytesMax: 32 * MiB,
  decompressedBytesMax: 64 * MiB,
  decompressionBytesTotalMax: 256 * MiB,
  allocationBytesMin: 1 * MiB,
  allocationBytesMax: 64 * MiB,
  diskFullPauseMs: 1000,
  idleFloorMs: 100,
  checkpointIntervalMs: 5000,
  checkpointBytes: 128 * MiB,
  saveRetryMsMin: 1000,
  saveRetryMsMax: 60_000,
  cleanIntervalMs: 10_000,
  openSegmentsMax: 64,
  partitionsTotalMax: 10_000,
  producersMax: 10_000,
  examinedEventsMax: 10_000,
}

/** A sparse index gets an entry when this much has been written since the last one: what a read looks through at most. */
export const indexIntervalBytes = 16 * KiB
