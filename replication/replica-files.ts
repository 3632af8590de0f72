/**
 * What a leader answers to a follower that takes over its files: one moment of its log, and the bytes of each file. Whoever asks is heard of meanwhile, so that
 * nothing is rewritten that it has not got to. Neighbours: the handlers call it; takeover.ts asks.
 */
import type { RequestOf } from '../protocol/api.ts'
import type { LogSnapshot } from '../storage/shared-files.ts'
import type { Partition } from './partition.ts'

export type SnapshotRequest = Omit<RequestOf<'replicaSnapshot'>, 'topicId' | 'partition'>
export type FileRequest = Omit<RequestOf<'replicaFile'>, 'topicId' | 'partition'>

/** Throws fencedEpoch, notLeader, and as SharedFiles.snapshot does. */
export async function snapshotFor(partition: Partition, request: SnapshotRequest): Promise<LogSnapshot> {
  partition.replicaProgress(request)
  const snapshot = await partition.log.files.shared.snapshot()
  partition.replicaProgress(request) // leads still
  return snapshot
}

/** Throws fencedEpoch, notLeader, unavailable when the file is gone. */
export async function fileFor(partition: Partition, request: FileRequest): Promise<Buffer> {
  const { kind, offset, position, maxBytes } = request
  partition.replicaProgress(request)
  return await partition.log.files.shared.read(kind, offset, position, maxBytes)
}
