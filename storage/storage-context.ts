/** StorageContext: what all logs of one broker share. Made by LogStore, handed to each Log. */
import type { LogCleaning } from './log-cleaning.ts'
import type { Clock } from '../platform/clock.ts'
import type { FileSystem } from '../platform/file-system.ts'
import type { Random } from '../platform/random.ts'
import type { FrameMemory } from '../protocol/frame-memory.ts'
import type { ByteBudget } from './byte-budget.ts'
import type { CheckpointStore } from './checkpoint-store.ts'
import type { CommitFigures } from './counted-buckets.ts'
import type { DecompressionMemory } from './decompression-memory.ts'
import type { FirstPassage } from './first-passage.ts'
import type { Haste } from './haste.ts'
import type { IndexMemory } from './index-memory.ts'
import type { RecoveryProgress } from './recovery-progress.ts'
import type { ScanWindows } from './scan-slices.ts'
import type { SegmentPool } from './segment-pool.ts'
import type { StorageSettings } from './storage-settings.ts'
import type { TailCacheBudget } from './tail-cache.ts'

export type Report = (level: 'info' | 'warn', message: string) => void

export interface StorageContext {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
  readonly settings: StorageSettings
  readonly checkpointStore: CheckpointStore
  readonly pool: SegmentPool
  readonly tailBudget: TailCacheBudget
  readonly indexMemory: IndexMemory
  /** For all work in slices that appends must not wait for. */
  readonly haste: Haste
  readonly decompression: DecompressionMemory
  readonly readAheadBudget: ByteBudget
  /** What is read for others lies in, until they have sent it. */
  readonly readMemory: FrameMemory
  readonly firstPassage: FirstPassage
  /** What small batches are copied into, until the tail cache drops them. */
  readonly groupMemory: FrameMemory
  /** Of that, what logs go on filling. */
  readonly groupBudget: ByteBudget
  readonly commits: CommitFigures
  /** Of this run of the broker; stamped into every batch. Final once all logs are recovered: it is higher than any in them. */
  readonly leaderEpoch: number
  /** Of the start that is under way. */
  readonly progress: RecoveryProgress
  readonly scanWindows: ScanWindows
  readonly report: Report
  /** A write or sync failed: the process must end. */
  readonly onFatal: (error: Error) => void
  /** How far logs may lose records while nobody has said more of them. */
  readonly cleaning: LogCleaning
}

/** Which log, for file names, keys and messages. */
export interface LogIdentity {
  readonly topic: string
  /** 16 bytes. */
  readonly topicId: Buffer
  readonly partition: number
  /** Of the topic. */
  readonly partitions: number
  readonly directory: string
}
